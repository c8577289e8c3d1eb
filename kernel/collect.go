package kernel

import (
	"encoding/json"
)

// collector puts a kernel's output messages into a notebook's cells, as nbclient does.
type collector struct {
	nb     *notebook
	cellOf map[string]*nbCell // execute_request's identifier -> cell
	clear  map[*nbCell]bool   // clear_output that waits for the next output

	// What is shown while the notebook runs; nil: nothing.
	onText   func(s string)     // what a cell prints
	onResult func(s string)     // the text of a value
	onLive   func(id, s string) // the text of a display that is updated
	onError  func(lines []string)
}

func newCollector(nb *notebook) *collector {
	return &collector{nb: nb, cellOf: map[string]*nbCell{}, clear: map[*nbCell]bool{}}
}

// outputContent is the content of the output messages, all types together.
type outputContent struct {
	Name      string         `json:"name"` // stream
	Text      string         `json:"text"`
	Data      map[string]any `json:"data"` // display_data, update_display_data, execute_result
	Metadata  map[string]any `json:"metadata"`
	Transient struct {
		DisplayID string `json:"display_id"`
	} `json:"transient"`
	Count     int      `json:"execution_count"`
	Name_     string   `json:"ename"` // error
	Value     string   `json:"evalue"`
	Traceback []string `json:"traceback"`
	Wait      bool     `json:"wait"` // clear_output
}

// add handles one message. Those of other requests than the cells' are passed over.
func (c *collector) add(m *message) {
	cell := c.cellOf[m.Parent.ID]
	var q outputContent
	if cell == nil || json.Unmarshal(m.Content, &q) != nil {
		return
	}
	id := q.Transient.DisplayID
	switch m.Header.Type {
	case "execute_input":
		cell.Count = q.Count
	case "stream":
		c.makeRoom(cell)
		if c.onText != nil {
			c.onText(q.Text)
		}
		if n := len(cell.Outputs); n > 0 {
			last := cell.Outputs[n-1].fields
			if last["output_type"] == "stream" && last["name"] == q.Name {
				last["text"] = last["text"].(string) + q.Text
				return
			}
		}
		cell.append(map[string]any{"output_type": "stream", "name": q.Name, "text": q.Text}, "")
	case "display_data":
		c.makeRoom(cell)
		c.update(id, q) // a display shown again also changes where it was before
		cell.append(map[string]any{"output_type": "display_data", "data": q.Data, "metadata": q.Metadata}, id)
		c.shown(id, q)
	case "update_display_data":
		c.update(id, q)
		c.shown(id, q)
	case "execute_result":
		c.makeRoom(cell)
		cell.append(map[string]any{
			"output_type": "execute_result", "data": q.Data, "metadata": q.Metadata, "execution_count": q.Count,
		}, "")
		c.shown("", q)
	case "error":
		c.makeRoom(cell)
		cell.append(map[string]any{
			"output_type": "error", "ename": q.Name_, "evalue": q.Value, "traceback": q.Traceback,
		}, "")
		if c.onError != nil {
			c.onError(q.Traceback)
		}
	case "clear_output":
		c.clear[cell] = true
		if !q.Wait {
			c.makeRoom(cell)
		}
	}
}

// makeRoom carries out a clear_output that waited for the next output.
func (c *collector) makeRoom(cell *nbCell) {
	if c.clear[cell] {
		cell.Outputs = nil
		delete(c.clear, cell)
	}
}

// update replaces what every display with that id shows, in all cells.
func (c *collector) update(id string, q outputContent) {
	if id == "" {
		return
	}
	for _, cell := range c.nb.cells {
		for _, o := range cell.Outputs {
			if o.displayID == id {
				o.fields["data"], o.fields["metadata"] = q.Data, q.Metadata
			}
		}
	}
}

func (c *collector) shown(id string, q outputContent) {
	s, _ := q.Data["text/plain"].(string)
	switch {
	case id == "" && c.onResult != nil:
		c.onResult(s)
	case id != "" && c.onLive != nil:
		c.onLive(id, s)
	}
}

func (c *nbCell) append(fields map[string]any, displayID string) {
	c.Outputs = append(c.Outputs, &output{fields: fields, displayID: displayID})
}
