module ddpmlab

go 1.26.0

require (
	github.com/chewxy/hm v1.0.0 // types of Gorgonia's operations
	github.com/cosmos72/gomacro v0.0.0-20220530072503-c719ab5c40fc // the interpreter of gophernotes; not in the checksum database, its sums are in go.sum
	github.com/go-zeromq/zmq4 v0.17.0 // another ZeroMQ, to test ours with
	github.com/mattn/go-sqlite3 v1.14.53 // runs.db
	github.com/oklog/ulid/v2 v2.1.2 // run ids that merge across databases
	github.com/rogpeppe/go-internal v1.16.0 // scripts that test the command line
	golang.org/x/image v0.30.0 // rasterising figures
	golang.org/x/tools v0.52.0 // reading packages for the kernel's symbol tables, and their export data
	gonum.org/v1/gonum v0.17.0 // eigenvalues and statistics
	gonum.org/v1/plot v0.17.0 // figures
	gorgonia.org/cu v0.9.6 // handles of the CUDA driver, with the tag ddpmcuda
	gorgonia.org/gorgonia v0.9.18 // the language of models and losses
	gorgonia.org/tensor v0.9.24 // shapes of Gorgonia's tensors
)

require (
	codeberg.org/go-fonts/liberation v0.5.0 // indirect
	codeberg.org/go-latex/latex v0.2.0 // indirect
	codeberg.org/go-pdf/fpdf v0.11.1 // indirect
	git.sr.ht/~sbinet/gg v0.7.0 // indirect
	github.com/BurntSushi/toml v1.4.1-0.20240526193622-a339e1f7089c // indirect
	github.com/ajstarks/svgo v0.0.0-20211024235047-1546f124cd8b // indirect
	github.com/apache/arrow/go/arrow v0.0.0-20211112161151-bc219186db40 // indirect
	github.com/awalterschulze/gographviz v2.0.3+incompatible // indirect
	github.com/chewxy/math32 v1.10.1 // indirect
	github.com/go-zeromq/goczmq/v4 v4.2.2 // indirect
	github.com/gofrs/uuid v4.2.0+incompatible // indirect
	github.com/gogo/protobuf v1.3.2 // indirect
	github.com/golang/freetype v0.0.0-20170609003504-e2365dfdc4a0 // indirect
	github.com/golang/protobuf v1.5.2 // indirect
	github.com/google/flatbuffers v2.0.6+incompatible // indirect
	github.com/google/uuid v1.3.0 // indirect
	github.com/gopherdata/gophernotes v0.7.5 // indirect
	github.com/leesper/go_rng v0.0.0-20190531154944-a612b043e353 // indirect
	github.com/mattn/go-runewidth v0.0.13 // indirect
	github.com/peterh/liner v1.2.1 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/rivo/uniseg v0.2.0 // indirect
	github.com/xtgo/set v1.0.0 // indirect
	go4.org/unsafe/assume-no-moving-gc v0.0.0-20231121144256-b99613f794b6 // indirect
	golang.org/x/exp/typeparams v0.0.0-20231108232855-2478ac86f678 // indirect
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.28.0 // indirect
	golang.org/x/xerrors v0.0.0-20200804184101-5ec99f83aff1 // indirect
	google.golang.org/protobuf v1.28.0 // indirect
	gorgonia.org/dawson v1.2.0 // indirect
	gorgonia.org/vecf32 v0.9.0 // indirect
	gorgonia.org/vecf64 v0.9.0 // indirect
	honnef.co/go/tools v0.8.2 // indirect
	mvdan.cc/gofumpt v0.12.0 // indirect
)

tool (
	github.com/gopherdata/gophernotes
	honnef.co/go/tools/cmd/staticcheck
	mvdan.cc/gofumpt
)
