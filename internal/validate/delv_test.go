package validate_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zonebuild/internal/lab"
	"zonebuild/internal/validate"
)

// TestAgreesWithDelv asks BIND's validator, which like this package asks a
// resolver with CD set and judges by itself.
func TestAgreesWithDelv(t *testing.T) {
	lab.Need(t, "delv")
	w := smallWorld(t)
	r := w.unbound()
	host, port, err := net.SplitHostPort(r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	anchors := filepath.Join(t.TempDir(), "anchors")
	ds := w.trust()[0].DS
	text := fmt.Sprintf("trust-anchors { . static-ds %d %d %d %q; };\n", ds.KeyTag, ds.Algorithm, ds.DigestType, ds.Digest)
	if err := os.WriteFile(anchors, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	v := w.validator(r.Addr())
	count := map[verdict]int{}
	for _, zone := range []string{"signed.lab.", "nsec3.lab."} {
		for _, question := range questions() {
			owner, typ, _ := strings.Cut(question, " ")
			name := full(owner, zone)
			said, _ := lab.Try(t, "delv", "-a", anchors, "+root=.", "-p", port, "@"+host, "-q", name, "-t", typ)
			want := delvVerdict(said, typ)
			a := lookUp(t, v, name, typ)
			got := verdict{a.Status, a.Exists}
			count[got]++
			if strings.HasPrefix(name, "loop.") || strings.Contains(name, "tree") && typ == "CNAME" {
				continue // it fetches through Unbound, which fails as explained has it
			}
			if got != want {
				t.Errorf("%s %s: %v (%s), delv: %v\n%s", name, typ, got, a.Reason, want, said)
			}
		}
	}
	t.Log(count)
}

func delvVerdict(said, typ string) verdict {
	var v verdict
	switch {
	case strings.Contains(said, "resolution failed: ncache nxdomain"), strings.Contains(said, "resolution failed: ncache nxrrset"):
		v.exists = validate.NoData
		if strings.Contains(said, "ncache nxdomain") {
			v.exists = validate.NXDomain
		}
	case strings.Contains(said, "resolution failed"):
		return verdict{status: validate.Bogus}
	default:
		v.exists = validate.Data
	}
	if !strings.Contains(said, "fully validated") || strings.Contains(said, "unsigned answer") {
		v.status = validate.Insecure
	}
	return v
}
