package main

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

// columns is the width that help texts are wrapped to.
const columns = 88

func isHelp(word string) bool {
	switch word {
	case "-h", "-help", "--help":
		return true
	}
	return false
}

// help prints the help of a command, of a group of commands, or the overview.
func help(line []string, w world) error {
	if len(line) == 0 {
		_, err := io.WriteString(w.out, overview())
		return err
	}
	c, _, err := find(line)
	if err != nil {
		return err
	}
	text := ""
	if c != nil {
		text = c.text()
	} else {
		text = "Usage: ddpmlab " + line[0] + " COMMAND\n\n" + list(line[0]+" ") +
			"\n`ddpmlab " + line[0] + " COMMAND --help` tells more.\n"
	}
	_, err = io.WriteString(w.out, text)
	return err
}

// overview is the help of the whole program.
func overview() string {
	return "ddpmlab: diffusion models and input perturbation, from training to the paper's tables\n\n" +
		"Usage: ddpmlab COMMAND [arguments] [flags]\n\n" +
		list("") +
		"\n`ddpmlab help COMMAND` tells more. Runs are kept in runs.db; --db FILE or the environment\n" +
		"variable DDPMLAB_DB names another file. One dash before a flag or two mean the same.\n"
}

// list is one line for each command whose name begins with prefix.
func list(prefix string) string {
	width := 0
	for _, c := range commands {
		width = max(width, len(c.name)+1+len(c.args))
	}
	var b strings.Builder
	for _, c := range commands {
		if strings.HasPrefix(c.name, prefix) {
			fmt.Fprintf(&b, "  %-*s  %s\n", width, strings.TrimSpace(c.name+" "+c.args), c.synopsis)
		}
	}
	return b.String()
}

// text is the help of one command.
func (c *command) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n\n%s.\n", c.usage(), c.synopsis)
	for paragraph := range strings.SplitSeq(c.help, "\n\n") {
		if paragraph != "" {
			fmt.Fprintf(&b, "\n%s\n", wrap(paragraph, columns, ""))
		}
	}
	if !c.flagless() {
		b.WriteString("\nFlags:\n" + c.flagTable())
	}
	if len(c.examples) > 0 {
		b.WriteString("\nExamples:\n")
		for _, e := range c.examples {
			fmt.Fprintf(&b, "  ddpmlab %s\n", e)
		}
	}
	return b.String()
}

// flagTable is two columns: each flag with the name of its value, and what it means.
func (c *command) flagTable() string {
	f := flag.NewFlagSet(c.name, flag.ContinueOnError)
	c.setup(f)
	var names, texts []string
	width := 0
	f.VisitAll(func(g *flag.Flag) {
		value, text := flag.UnquoteUsage(g)
		name := dashed(g.Name)
		if !isSwitch(g) {
			name += " " + value
		}
		switch d := g.DefValue; {
		case isSwitch(g) && d == "true":
			text += "; on by default, " + name + "=false turns it off"
		case d != "" && d != "0" && d != "false":
			text += " (default " + d + ")"
		}
		names, texts = append(names, name), append(texts, text)
		width = max(width, len(name))
	})
	var b strings.Builder
	for i, name := range names {
		indent := strings.Repeat(" ", width+4)
		fmt.Fprintf(&b, "  %-*s  %s\n", width, name, wrap(texts[i], columns-len(indent), indent))
	}
	return b.String()
}

// isSwitch reports whether the flag needs no value.
func isSwitch(g *flag.Flag) bool {
	b, ok := g.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// wrap breaks s into lines of at most width letters, the second and later ones indented.
func wrap(s string, width int, indent string) string {
	var b strings.Builder
	line := 0
	for _, word := range strings.Fields(s) {
		n := len([]rune(word))
		switch {
		case line == 0:
		case line+1+n > width:
			b.WriteString("\n" + indent)
			line = 0
		default:
			b.WriteByte(' ')
			line++
		}
		b.WriteString(word)
		line += n
	}
	return b.String()
}
