package soa

import (
	"strings"
	"testing"
	"testing/fstest"

	"zonebuild/internal/domain"
)

// TestLoad: the fragment includes and generates nothing, and a file that is not
// there is told by its name.
func TestLoad(t *testing.T) {
	tree := fstest.MapFS{
		"soa/good": {Data: []byte("$TTL 1h\n@ SOA ns1 host 1 2 3 4 5\n@ NS ns1\n")},
		"soa/bad":  {Data: []byte("$INCLUDE soa/good\n$GENERATE 1-2 h$ A 192.0.2.$\n@ SOA ns1\n")},
	}
	for _, tt := range []struct {
		file       string
		records    int
		ttl        int64
		incomplete bool
		want       string
	}{
		{"soa/good", 2, 3600, false, ""},
		{"soa/bad", 0, -1, true, `soa/bad:1:1: $INCLUDE is not allowed here [include]
soa/bad:2:1: $GENERATE is not allowed here [generate]
soa/bad:3:1: example.org.: SOA: rdata ends early: a name is missing [rdata]
`},
		{"soa/none", 0, -1, true, "soa/none: example.org.: read the soa/ fragment: file does not exist [source-missing]\n"},
	} {
		f, faults := Load(tree, tt.file, domain.MustParse("example.org"))
		var b strings.Builder
		for _, d := range faults {
			b.WriteString(d.String() + "\n")
		}
		n := 0
		if f.Records != nil {
			n = f.Records.Len()
		}
		if b.String() != tt.want || n != tt.records || f.TTL != tt.ttl || f.Incomplete != tt.incomplete {
			t.Errorf("%s: %d records, TTL %d, incomplete %t\n%swant\n%s", tt.file, n, f.TTL, f.Incomplete, &b, tt.want)
		}
	}
}
