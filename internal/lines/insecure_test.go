package lines

import (
	"testing"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/tlsa"
)

// TestGateInsecure: where DNSSEC proves that a zone is not signed, a first key without
// any TLSA records need not wait. Any other key does, and it is said what for.
func TestGateInsecure(t *testing.T) {
	service := config.Service{Name: "s", Host: domain.MustParse("h.example"), Port: 25, Proto: "tcp", TLSA: true}
	key := &Key{SPKI: []byte("key")}
	pinned := ServerSight{Server: "ns", TTL: 60, Records: []tlsa.Record{pin(0, key.SPKI)}}
	empty, silent := ServerSight{Server: "ns", TTL: 60}, ServerSight{Server: "ns", Silent: "does not answer"}
	const said = "_25._tcp.h.example.: DNSSEC: insecure: example. has no DS: clients heed no TLSA records there; if it is to stay so: tlsa = false in [service.s]"
	for name, c := range map[string]struct {
		server ServerSight
		first  bool
		why    string
	}{
		"none, first":    {empty, true, ""},
		"none":           {empty, false, said},
		"some, first":    {pinned, true, said},
		"some":           {pinned, false, said},
		"silence, first": {silent, true, "_25._tcp.h.example.: ns does not answer"},
	} {
		sight := Sight{Service: "s", Owner: "_25._tcp.h.example.", Servers: []ServerSight{c.server}, Insecure: "example. has no DS"}
		g := Gate{}.Watch(key, []Sight{sight}, time.Unix(0, 0))
		if at, why := g.open(key, []config.Service{service}, Params{TTLs: 2}, c.first); !at.IsZero() || why != c.why {
			t.Errorf("%s: %v %q", name, at, why)
		}
	}
}
