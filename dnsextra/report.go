package dnsextra

import (
	"encoding/json"
	"slices"
	"time"
)

// Report tells the jail what became of its files: the builder writes it, to a
// file that is mounted back, and a Writer's owner reads it while it waits.
type Report struct {
	Time    time.Time `json:"time"`    // when the list last changed
	Refused []Refused `json:"refused"` // sorted by file
}

// Refused is a file that was left out.
type Refused struct {
	File    string `json:"file"` // base name
	Code    string `json:"code"` // docs/diagnostics.md
	Message string `json:"message"`
}

// maxReport bounds what is read of a report, in octets.
const maxReport = 1 << 20

// ParseReport reads a report. One that cannot be read says nothing.
func ParseReport(data []byte) Report {
	var r Report
	if len(data) > maxReport || json.Unmarshal(data, &r) != nil {
		return Report{}
	}
	return r
}

// Find gives the refusal of a file.
func (r Report) Find(file string) (Refused, bool) {
	i := slices.IndexFunc(r.Refused, func(f Refused) bool { return f.File == file })
	if i < 0 {
		return Refused{}, false
	}
	return r.Refused[i], true
}
