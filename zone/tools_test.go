package zone

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/lab"
)

// TestReadersAgree: on each form that a master file may have, named-compilezone,
// ldns-read-zone and we read the same records.
func TestReadersAgree(t *testing.T) {
	lab.Need(t, "named-compilezone", "ldns-read-zone")
	files, err := filepath.Glob("testdata/*.zone")
	if err != nil || len(files) == 0 {
		t.Fatalf("no zone file: %v", err)
	}
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		apex := domain.MustParse("example.org")
		f, faults := Parse(file, src, ParseOptions{Apex: apex, Generate: true})
		z, more := Compile(apex, f)
		if faults = append(faults, more...); faults.HasErrors() {
			t.Fatal(faults)
		}
		var b bytes.Buffer
		if _, err := z.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		ours := filepath.Join(dir, "ours")
		if err := os.WriteFile(ours, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		want := wires(t, b.Bytes())
		compiled := filepath.Join(dir, "bind")
		lab.Run(t, "named-compilezone", "-q", "-i", "none", "-k", "ignore", "-S", "ignore", "-M", "ignore", "-n", "ignore", "-o", compiled, "example.org", file)
		text, err := os.ReadFile(compiled)
		if err != nil {
			t.Fatal(err)
		}
		same(t, file+" by named-compilezone", wires(t, text), want)
		// ldns knows neither $GENERATE nor units in a $TTL, and writes no other serial.
		same(t, ours+" by ldns-read-zone", wires(t, []byte(lab.Run(t, "ldns-read-zone", ours))), want)
	}
}

// wires is each record as octets, sorted, once.
func wires(t *testing.T, text []byte) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(string(text)) {
		if strings.TrimSpace(line) == "" || line[0] == ';' {
			continue
		}
		if strings.Contains(line, "LOC\t") { // miekg/dns rounds seconds, as TestLOC has it
			f, faults := Parse("p", []byte(line), ParseOptions{Apex: domain.MustParse("example.org")})
			if faults.HasErrors() {
				t.Fatal(faults)
			}
			out = append(out, string(f.Records.Owner(0))+"\tLOC\t"+string(f.Records.Rdata(0)))
			continue
		}
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		rr.Header().Name = dns.CanonicalName(rr.Header().Name)
		rdata, err := packRdata(rr)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if _, known := dns.TypeToRR[rr.Header().Rrtype]; known {
			if rdata, err = canonicalRdata(rr.Header().Rrtype, rdata); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
		buf := make([]byte, 512)
		n, err := dns.PackDomainName(rr.Header().Name, buf, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(buf[:n])+"\t"+dns.Type(rr.Header().Rrtype).String()+"\t"+string(rdata))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, r := range want {
		if !slices.Contains(got, r) {
			t.Errorf("%s lacks %q", what, r)
		}
	}
	for _, r := range got {
		if !slices.Contains(want, r) {
			t.Errorf("%s has %q", what, r)
		}
	}
}
