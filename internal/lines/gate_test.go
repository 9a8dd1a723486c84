package lines

import (
	"crypto/sha256"
	"crypto/sha512"
	"testing"
	"time"

	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/tlsa"
)

func pin(matching uint8, data []byte) tlsa.Record {
	return tlsa.Record{Kind: tlsa.Kind{Usage: 3, Selector: 1, MatchingType: matching}, Data: string(data)}
}

func TestCovers(t *testing.T) {
	key, other := []byte("key"), []byte("other")
	s256, o256 := sha256.Sum256(key), sha256.Sum256(other)
	s512, o512 := sha512.Sum512(key), sha512.Sum512(other)
	for name, c := range map[string]struct {
		records []tlsa.Record
		want    bool
	}{
		"none":                         {nil, false},
		"sha-256":                      {[]tlsa.Record{pin(1, s256[:])}, true},
		"sha-512":                      {[]tlsa.Record{pin(2, s512[:])}, true},
		"full":                         {[]tlsa.Record{pin(0, key)}, true},
		"another beside it":            {[]tlsa.Record{pin(1, o256[:]), pin(1, s256[:])}, true},
		"another":                      {[]tlsa.Record{pin(1, o256[:])}, false},
		"a stronger one of another":    {[]tlsa.Record{pin(1, s256[:]), pin(2, o512[:])}, false},
		"both kinds":                   {[]tlsa.Record{pin(1, s256[:]), pin(2, s512[:]), pin(2, o512[:])}, true},
		"an unknown matching type":     {[]tlsa.Record{pin(9, key)}, false},
		"usage 2 does not count":       {[]tlsa.Record{{Kind: tlsa.Kind{Usage: 2, Selector: 1, MatchingType: 1}, Data: string(s256[:])}}, false},
		"selector 0 does not count":    {[]tlsa.Record{{Kind: tlsa.Kind{Usage: 3, Selector: 0, MatchingType: 1}, Data: string(s256[:])}}, false},
		"usage 2 beside does not mind": {[]tlsa.Record{pin(1, s256[:]), {Kind: tlsa.Kind{Usage: 2, Selector: 1, MatchingType: 1}, Data: string(o256[:])}}, true},
	} {
		if got := covers(c.records, key); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestGate plays looks at DNS and wants the time at which the gate opens.
func TestGate(t *testing.T) {
	key, other := &Key{SPKI: []byte("key")}, &Key{SPKI: []byte("other")}
	sum := sha256.Sum256(key.SPKI)
	osum := sha256.Sum256(other.SPKI)
	has := func(ttl uint32) ServerSight {
		return ServerSight{Server: "ns", TTL: ttl, Records: []tlsa.Record{pin(1, sum[:])}}
	}
	lacks := func(ttl uint32) ServerSight {
		return ServerSight{Server: "ns", TTL: ttl, Records: []tlsa.Record{pin(1, osum[:])}}
	}
	empty := ServerSight{Server: "ns", TTL: 600}
	silent := ServerSight{Server: "ns", Silent: "does not answer"}
	service := config.Service{Name: "s", Host: domain.MustParse("h.example"), Port: 25, Proto: "tcp", TLSA: true}
	owner := "_25._tcp.h.example."
	type look struct {
		at      int // seconds
		servers []ServerSight
		key     *Key
		trouble string
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		looks []look
		first bool
		open  int // seconds; -1: not known
		why   string
	}{
		"nobody asked":                {nil, false, -1, owner + ": not asked yet"},
		"seen at once":                {[]look{{0, []ServerSight{has(300), has(300)}, key, ""}}, false, 600, ""},
		"one server lags":             {[]look{{0, []ServerSight{has(300), lacks(300)}, key, ""}}, false, -1, owner + ": ns lacks those of the next key"},
		"one has none":                {[]look{{0, []ServerSight{has(300), empty}, key, ""}}, false, -1, owner + ": ns has no TLSA records"},
		"the lag ends":                {[]look{{0, []ServerSight{has(300), lacks(300)}, key, ""}, {100, []ServerSight{has(300), has(300)}, key, ""}}, false, 700, ""},
		"it is lost again":            {[]look{{0, []ServerSight{has(300)}, key, ""}, {100, []ServerSight{lacks(300)}, key, ""}, {200, []ServerSight{has(300)}, key, ""}}, false, 800, ""},
		"the longer TTL from before":  {[]look{{0, []ServerSight{lacks(3600)}, key, ""}, {100, []ServerSight{has(300)}, key, ""}}, false, 7300, ""},
		"a longer TTL has run out":    {[]look{{0, []ServerSight{lacks(3600)}, key, ""}, {3700, []ServerSight{has(300)}, key, ""}}, false, 4300, ""},
		"the TTL of absence":          {[]look{{0, []ServerSight{empty}, key, ""}, {10, []ServerSight{has(60)}, key, ""}}, false, 1210, ""},
		"silence does not stop":       {[]look{{0, []ServerSight{has(300), has(300)}, key, ""}, {100, []ServerSight{has(300), silent}, key, ""}, {200, []ServerSight{has(300), has(300)}, key, ""}}, false, 600, ""},
		"silence keeps it shut":       {[]look{{0, []ServerSight{has(300), has(300)}, key, ""}, {300, []ServerSight{has(300)}, key, ""}, {600, []ServerSight{has(300)}, key, ""}, {900, []ServerSight{has(300), silent}, key, ""}}, false, -1, owner + ": ns does not answer"},
		"trouble keeps it shut":       {[]look{{0, []ServerSight{has(300)}, key, "DNSSEC: bogus: expired"}}, false, -1, owner + ": DNSSEC: bogus: expired"},
		"no server":                   {[]look{{0, nil, key, ""}}, false, -1, owner + ": no server was asked"},
		"another key":                 {[]look{{0, []ServerSight{has(300)}, other, ""}, {100, []ServerSight{has(300)}, key, ""}}, false, 700, ""},
		"the clock goes back":         {[]look{{5000, []ServerSight{has(300)}, key, ""}, {100, []ServerSight{has(300)}, key, ""}}, false, 700, ""},
		"none at all":                 {[]look{{0, []ServerSight{empty, empty}, key, ""}}, false, -1, owner + ": there are no TLSA records; if there shall be none: tlsa = false in [service.s]"},
		"none at all, first":          {[]look{{0, []ServerSight{empty, empty}, key, ""}}, true, -2, ""},
		"some, first":                 {[]look{{0, []ServerSight{lacks(300)}, key, ""}}, true, -1, owner + ": ns lacks those of the next key"},
		"none, then its own, first":   {[]look{{0, []ServerSight{empty}, key, ""}, {9, []ServerSight{silent}, key, ""}, {10, []ServerSight{has(300)}, key, ""}, {11, []ServerSight{has(300)}, key, ""}}, true, -2, ""},
		"none, then another's, first": {[]look{{0, []ServerSight{empty}, key, ""}, {10, []ServerSight{lacks(300)}, key, ""}, {11, []ServerSight{has(300)}, key, ""}}, true, 1211, ""},
		"none for another key, first": {[]look{{0, []ServerSight{empty}, other, ""}, {10, []ServerSight{has(300)}, key, ""}}, true, 1210, ""},
		"nobody looked for a while": {[]look{{0, []ServerSight{has(300)}, key, ""}, {301, []ServerSight{has(300)}, key, ""}}, false, 901,
			owner + ": caches may hold what was before 2026-01-01T00:05:01Z, as nobody looked since 2026-01-01T00:00:00Z"},
		"nobody was heard for a while": {[]look{{0, []ServerSight{has(300)}, key, ""}, {200, []ServerSight{silent}, key, ""}, {400, []ServerSight{has(300)}, key, ""}}, false, 1000,
			owner + ": caches may hold what was before 2026-01-01T00:06:40Z, as nobody looked since 2026-01-01T00:00:00Z"},
		"it is looked hourly":            {[]look{{0, []ServerSight{lacks(300)}, key, ""}, {3600, []ServerSight{has(300)}, key, ""}, {7200, []ServerSight{has(300)}, key, ""}}, false, 7500, owner + ": caches may hold what was before"},
		"hourly, and then not":           {[]look{{0, []ServerSight{lacks(300)}, key, ""}, {3600, []ServerSight{has(300)}, key, ""}, {9001, []ServerSight{has(300)}, key, ""}}, false, 9601, owner + ": caches may hold what was before 2026-01-01T02:30:01Z, as nobody looked since 2026-01-01T01:00:00Z"},
		"a clock ahead and back":         {[]look{{0, []ServerSight{has(300)}, key, ""}, {9000, []ServerSight{has(300)}, key, ""}, {100, []ServerSight{has(300)}, key, ""}}, false, 700, ""},
		"a gap, a clock put back, a gap": {[]look{{0, []ServerSight{has(600)}, key, ""}, {9000, []ServerSight{has(600)}, key, ""}, {5000, []ServerSight{has(600)}, key, ""}, {7000, []ServerSight{has(600)}, key, ""}}, false, 8200, ""},
		"none, a gap, its own, first":    {[]look{{0, []ServerSight{empty}, key, ""}, {601, []ServerSight{has(60)}, key, ""}}, true, 721, ""},
		"a gap of five minutes":          {[]look{{0, []ServerSight{has(1)}, key, ""}, {300, []ServerSight{has(1)}, key, ""}}, false, 2, ""},
		"none, then all":                 {[]look{{0, []ServerSight{empty}, key, ""}, {500, []ServerSight{has(300)}, key, ""}}, false, 1700, ""},
	} {
		var g Gate
		for _, l := range c.looks {
			g = g.Watch(l.key, []Sight{{Owner: owner, Servers: l.servers, Trouble: l.trouble}}, start.Add(time.Duration(l.at)*time.Second))
		}
		at, why := g.open(key, []config.Service{service}, Params{TTLs: 2}, c.first)
		switch {
		case c.open == -1 && (!at.IsZero() || why != c.why):
			t.Errorf("%s: %v %q", name, at, why)
		case c.open == -2 && (!at.IsZero() || why != ""):
			t.Errorf("%s: %v %q", name, at, why)
		case c.open >= 0 && (!at.Equal(start.Add(time.Duration(c.open)*time.Second)) || c.why != "" && why != c.why):
			t.Errorf("%s: %v %q", name, at.Sub(start), why)
		}
	}
}

// TestGateProof: what servers say counts only with what DNSSEC proves.
func TestGateProof(t *testing.T) {
	key := &Key{SPKI: []byte("key")}
	sum, osum := sha256.Sum256(key.SPKI), sha256.Sum256([]byte("other"))
	has := []ServerSight{{Server: "ns", TTL: 300, Records: []tlsa.Record{pin(1, osum[:]), pin(1, sum[:])}}}
	empty := []ServerSight{{Server: "ns", TTL: 300}}
	for name, c := range map[string]struct {
		servers []ServerSight
		proved  []tlsa.Record
		want    verdict
	}{
		"both":                     {has, []tlsa.Record{pin(1, sum[:])}, present},
		"another key is proved":    {has, []tlsa.Record{pin(1, osum[:])}, absent},
		"absence is proved":        {has, nil, absent},
		"none, and that is proved": {empty, nil, none},
		"none, but some are":       {empty, []tlsa.Record{pin(1, osum[:])}, absent},
	} {
		if got, why := judge(Sight{Servers: c.servers, Checked: true, Proved: c.proved}, key); got != c.want {
			t.Errorf("%s: %v %s", name, got, why)
		}
	}
	g := Gate{}.Watch(key, []Sight{{Owner: "o.", Servers: has, Checked: true, Proved: has[0].Records, ProvedTTL: 900, Notes: []string{"n"}}}, time.Unix(0, 0))
	if c := g.Owners["o."]; c.TTL != 900 || len(c.Notes) != 1 {
		t.Errorf("%+v", c)
	}
}
