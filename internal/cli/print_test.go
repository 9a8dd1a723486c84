package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"zonebuild/internal/diag"
)

func faults() diag.List {
	var l diag.List
	l.Errorf(diag.Pos{File: "primary/example.org", Line: 14, Column: 1}, "cname-other-data", "www.example.org.", "CNAME and other data").
		At(diag.Pos{File: "primary/example.org", Line: 9, Column: 1}, "other data")
	l.Warnf(diag.Pos{File: "dnsextra/x"}, "dropped", "", "fragment\nnot used")
	return l
}

func TestDiagnostics(t *testing.T) {
	tests := []struct {
		name string
		json bool
		want string
	}{
		{"text", false, `primary/example.org:14:1: www.example.org.: CNAME and other data [cname-other-data] (other data at primary/example.org:9:1)
dnsextra/x: warning: fragment\nnot used [dropped]
`},
		{"json", true, `{"message_type":"diagnostic","file":"primary/example.org","line":14,"column":1,"severity":"error","code":"cname-other-data","owner":"www.example.org.","message":"CNAME and other data","related":[{"file":"primary/example.org","line":9,"column":1,"message":"other data"}]}
{"message_type":"diagnostic","file":"dnsextra/x","severity":"warning","code":"dropped","message":"fragment\nnot used"}
`},
	}
	for _, tt := range tests {
		var out, errs strings.Builder
		p := Printer{Program: "zonebuild", Out: &out, Err: &errs, JSON: tt.json}
		if err := p.Diagnostics(faults()); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if errs.String() != tt.want || out.Len() != 0 {
			t.Errorf("%s: stdout %q, stderr\n%s\nwant\n%s", tt.name, out.String(), errs.String(), tt.want)
		}
		for line := range strings.Lines(errs.String()) {
			if tt.json && !json.Valid([]byte(line)) {
				t.Errorf("%s: no JSON: %s", tt.name, line)
			}
		}
	}
}

func TestReport(t *testing.T) {
	var out strings.Builder
	p := Printer{Out: &out, Err: io.Discard, JSON: true}
	err := p.Report(struct {
		Zone   string    `json:"zone"`
		Faults diag.List `json:"faults,omitempty"`
	}{"example.org.", nil})
	if want := "{\n  \"zone\": \"example.org.\"\n}\n"; err != nil || out.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out.String(), want)
	}
	if err := p.Report(make(chan int)); err == nil || !strings.HasPrefix(err.Error(), "encode report: ") {
		t.Errorf("a value that is no JSON: %v", err)
	}
	p.Out, p.Err = broken{}, broken{}
	if err := p.Report(1); !errors.Is(err, io.ErrClosedPipe) || err.Error() != "write report: io: read/write on closed pipe" {
		t.Errorf("a broken pipe: %v", err)
	}
	if err := p.Diagnostics(faults()); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a broken pipe: %v", err)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestFinish(t *testing.T) {
	tests := []struct {
		name     string
		err      error
		code     int
		text, js string
	}{
		{"done", nil, 0, "", ""},
		{"failed", fmt.Errorf("read signed/example.org: %w", io.ErrUnexpectedEOF), 1,
			"zonebuild: read signed/example.org: unexpected EOF\n",
			`{"message_type":"exit_error","code":1,"message":"read signed/example.org: unexpected EOF"}` + "\n"},
		{"all is said", Exit(ExitRejected), 3, "",
			`{"message_type":"exit_error","code":3,"message":"some input was rejected"}` + "\n"},
		{"joined", errors.Join(Nof("a"), Rejectedf("b")), 3,
			"zonebuild: a\nzonebuild: b\n",
			`{"message_type":"exit_error","code":3,"message":"a\nb"}` + "\n"},
		{"hostile", Usagef("unknown command %s", "\x1b[2J\rü"), 64,
			`zonebuild: unknown command \x1b[2J\rü` + "\n",
			`{"message_type":"exit_error","code":64,"message":"unknown command \u001b[2J\rü"}` + "\n"},
		{"backslashes stay", Usagef(`bad name "a\.b"`), 64,
			`zonebuild: bad name "a\.b"` + "\n",
			`{"message_type":"exit_error","code":64,"message":"bad name \"a\\.b\""}` + "\n"},
	}
	for _, tt := range tests {
		for _, asJSON := range []bool{false, true} {
			var out, errs strings.Builder
			p := Printer{Program: "zonebuild", Out: &out, Err: &errs, JSON: asJSON}
			code := p.Finish(tt.err)
			want := tt.text
			if asJSON {
				want = tt.js
			}
			if code != tt.code || errs.String() != want || out.Len() != 0 {
				t.Errorf("%s: code %d, stdout %q, stderr %q; want %d, %q", tt.name, code, out.String(), errs.String(), tt.code, want)
			}
		}
	}
}

func TestLogger(t *testing.T) {
	tests := []struct {
		name string
		o    LogOptions
		want string
	}{
		{"default", LogOptions{}, "level=INFO msg=sign zone=example.org.\nlevel=WARN msg=shrink\n"},
		{"quiet", LogOptions{Quiet: true, Format: "text"}, "level=WARN msg=shrink\n"},
		{"verbose", LogOptions{Verbose: true, Quiet: true}, "level=DEBUG msg=detail\nlevel=INFO msg=sign zone=example.org.\nlevel=WARN msg=shrink\n"},
	}
	for _, tt := range tests {
		var b strings.Builder
		log, err := tt.o.Logger(&b)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		speak(log)
		if b.String() != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, b.String(), tt.want)
		}
	}
	for _, o := range []LogOptions{{Time: true, Quiet: true}, {Format: "json", Quiet: true}} {
		var b strings.Builder
		log, err := o.Logger(&b)
		if err != nil {
			t.Fatal(err)
		}
		speak(log)
		if !strings.Contains(b.String(), "time") {
			t.Errorf("%+v: no time in %q", o, b.String())
		}
	}
	if _, err := (LogOptions{Format: "xml"}).Logger(io.Discard); Code(err) != ExitUsage || err.Error() != `log format "xml": must be text or json` {
		t.Errorf("unknown format: %v", err)
	}
}

func speak(log *slog.Logger) {
	log.Debug("detail")
	log.Info("sign", "zone", "example.org.")
	log.Warn("shrink")
}
