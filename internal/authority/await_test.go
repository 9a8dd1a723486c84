package authority

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestJudge: who blocks, who may be left out, and when.
func TestJudge(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	shows, silent, lags := serverState{shows: true}, serverState{why: "does not answer"}, serverState{why: "answers without the value"}
	for _, tt := range []struct {
		name    string
		states  []serverState
		min     int
		seconds int
		waiting int
		done    bool
	}{
		{"all show it", []serverState{shows, shows}, 2, 0, 0, true},
		{"one is silent", []serverState{shows, shows, silent}, 2, 29, 1, false},
		{"one is silent for long", []serverState{shows, shows, silent}, 2, 30, 1, true},
		{"too few show it", []serverState{shows, silent, silent}, 2, 60, 2, false},
		{"of two one is silent", []serverState{shows, silent}, 2, 29, 1, false},
		{"of two one is silent for long", []serverState{shows, silent}, 2, 30, 1, true},
		{"of two one answers old data", []serverState{shows, {last: at(599), why: lags.why}}, 2, 600, 1, false},
		{"both are silent", []serverState{silent, silent}, 2, 600, 2, false},
		{"more are wanted than there are", []serverState{shows, shows, silent}, 9, 60, 1, true},
		{"more are wanted, and two are silent", []serverState{shows, shows, silent, silent}, 9, 60, 2, false},
		{"fewer are wanted", []serverState{shows, silent, silent}, 1, 60, 2, true},
		{"all are silent", []serverState{silent}, 2, 600, 1, false},
		{"one answers old data", []serverState{shows, shows, {last: at(599), why: lags.why}}, 2, 600, 1, false},
		{"one answered, and died", []serverState{shows, shows, {last: at(100), why: silent.why}}, 2, 130, 1, true},
		{"one answered, and died just now", []serverState{shows, shows, {last: at(100), why: silent.why}}, 2, 129, 1, false},
	} {
		o := AwaitOptions{DeadAfter: 30 * time.Second, MinServers: tt.min}
		for i := range tt.states {
			o.Servers = append(o.Servers, Server{"ns.example.", netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 53)})
		}
		waiting, done := o.judge(tt.states, start, at(tt.seconds))
		if len(waiting) != tt.waiting || done != tt.done {
			t.Errorf("%s: waits for %v, done %t", tt.name, waiting, done)
		}
		if len(waiting) > 0 && !strings.HasPrefix(waiting[0], "ns.example. (192.0.2.") {
			t.Errorf("%s: %q", tt.name, waiting)
		}
	}
}
