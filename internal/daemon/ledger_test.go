package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/build"
	"zonebuild/internal/domain"
	"zonebuild/internal/publish"
)

// TestHeard: of serials, what each server said last is told, and nothing else.
func TestHeard(t *testing.T) {
	apex := domain.MustParse("example.org")
	l := &ledger{zones: map[zoneName]zoneFacts{}}
	told := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, r := range l.facts(apex).served {
			got = append(got, fmt.Sprint(r.server, " ", r.serial, " ", r.up))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	l.heard(t.Context(), apex, publish.Served{Server: "b", Serial: 1}, nil) // in the middle of the first pass
	l.pass(&build.Report{Zones: []build.Result{{Zone: apex, Action: build.Published, After: build.After{Files: []build.FileAfter{}, Serial: 2, Confirmed: true}}}}, time.Now(), time.Now())
	told("the published serial is no answer", "b 1 true")
	l.heard(t.Context(), apex, publish.Served{Server: "a", Serial: 2}, nil)
	l.heard(t.Context(), apex, publish.Served{Server: "b"}, publish.ErrUnreachable)
	told("one is silent", "a 2 true", "b 0 false")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	l.heard(over, apex, publish.Served{Server: "a"}, publish.ErrUnreachable)
	late, end := context.WithTimeout(t.Context(), 0)
	defer end()
	told("nobody waited for an answer", "a 2 true", "b 0 false")
	l.heard(late, apex, publish.Served{Server: "a"}, publish.ErrUnreachable)
	told("it did not answer in time", "a 0 false", "b 0 false")
	l.keep(map[zoneName]bool{apex: true}, true, true)
	told("a reload", "a 0 false", "b 0 false")
	l.keep(map[zoneName]bool{apex: true}, false, true)
	told("a reload with other servers")
	l.heard(t.Context(), apex, publish.Served{Server: "a", Serial: 7}, nil)
	f := l.zones[apex]
	f.elsewhere = true
	l.zones[apex] = f
	told("others sign it")
	f.elsewhere = false
	l.zones[apex] = f
	l.keep(map[zoneName]bool{}, true, true)
	if len(l.replies) > 0 {
		t.Error("a zone that is gone is not forgotten")
	}
}

// TestNobodyToAsk: without a server, nothing is told of one; when there is one, what it
// answered.
func TestNobodyToAsk(t *testing.T) {
	s := newSite(t, true)
	config := readFile(t, s.path("zonebuild.toml"))
	s.write("zonebuild.toml", "[[drop-box]]\npath = \"dnsextra\"\n")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listen = l
	s.start()
	serial := `zonebuild_zone_published_serial{zone="example.org."}`
	text := ""
	s.until("the zone is published", func() bool {
		_, text = get(t, l, "/metrics")
		return value(text, serial) != ""
	})
	for _, metric := range []string{"zonebuild_zone_served", "zonebuild_zone_confirmed{"} {
		if strings.Contains(text, metric) {
			t.Errorf("%s, and nobody was asked:\n%s", metric, text)
		}
	}
	var doc statusDocument
	if _, text := get(t, l, "/status.json"); json.Unmarshal([]byte(text), &doc) != nil || len(doc.Zones) != 1 || doc.Zones[0].Confirmed != nil || doc.Zones[0].Served != nil {
		t.Errorf("status.json: %s", text)
	}
	s.write("zonebuild.toml", config)
	s.drop("", goodValue) // nsd is told by a change
	of := `{server="` + s.nsd.Addr() + `",zone="example.org."}`
	s.until("what nsd answered", func() bool {
		_, text = get(t, l, "/metrics")
		return value(text, serial) != "" && value(text, "zonebuild_zone_served_serial"+of) == value(text, serial) && value(text, `zonebuild_zone_confirmed{zone="example.org."}`) == "1"
	})
	s.nsd.Kill()
	s.drop("other.", goodValue)
	s.until("it is silent", func() bool {
		_, text = get(t, l, "/metrics")
		return value(text, "zonebuild_zone_served_up"+of) == "0"
	})
	if v := value(text, "zonebuild_zone_served_serial"+of); v != "" {
		t.Errorf("it has serial %s, and it does not answer", v)
	}
}
