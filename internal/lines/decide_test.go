package lines

import (
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"zonebuild/internal/acmeclient"
	"zonebuild/internal/config"
	"zonebuild/internal/domain"
)

// TestDecide has a line in its steady state, changed by one thing each.
func TestDecide(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	live := &Key{ID: "live", Created: now.AddDate(0, -6, 0), SPKI: []byte("live")}
	next := &Key{ID: "next", Created: now.AddDate(0, -6, 0), SPKI: []byte("next")}
	leaf := func(from, to time.Time) *Generation {
		return &Generation{Number: 7, Key: live, Chain: []*x509.Certificate{{
			DNSNames: []string{"a.example"}, NotBefore: from, NotAfter: to, RawSubjectPublicKeyInfo: live.SPKI,
		}}}
	}
	open := Gate{Key: next.Hash(), Owners: map[string]Clock{"_25._tcp.h.example.": {Since: now.Add(-time.Hour), TTL: 60}}}
	shut := Gate{Key: next.Hash(), Owners: map[string]Clock{"_25._tcp.h.example.": {Missing: "ns lacks it"}}}
	steady := func() Input {
		return Input{
			Line:     config.Line{Name: "l", Names: []string{"a.example"}, ReuseKey: true, NextKey: true, Services: []string{"s"}, Deploy: [][]string{{"x"}}},
			Services: []config.Service{{Name: "s", Host: domain.MustParse("h.example"), Port: 25, Proto: "tcp", TLSA: true}},
			Files:    Files{Live: leaf(now.AddDate(0, 0, -10), now.AddDate(0, 0, 80)), Next: next},
			State: State{
				Gate: shut, Deploy: Deploy{Generation: 7, Done: 1},
				Served: map[string]Serving{"s": {Generation: 7, Key: live.Hash()}},
			},
			Params: Params{TTLs: 2}, Now: now,
		}
	}
	for name, c := range map[string]struct {
		change func(in *Input)
		want   string
	}{
		"steady":                 {func(*Input) {}, "[]"},
		"no key":                 {func(in *Input) { in.Files = Files{} }, "[make-key]"},
		"first, no gate yet":     {func(in *Input) { in.Files.Live = nil }, "[]"},
		"first, gate open":       {func(in *Input) { in.Files.Live, in.State.Gate = nil, open }, "[issue]"},
		"first, no TLSA":         {func(in *Input) { in.Files.Live, in.Services[0].TLSA = nil, false }, "[issue]"},
		"first, last try failed": {func(in *Input) { in.Files.Live, in.State.Gate, in.RetryAt = nil, open, now.Add(1) }, "[]"},
		"due":                    {func(in *Input) { in.Files.Live = leaf(now.AddDate(0, 0, -80), now.AddDate(0, 0, 10)) }, "[renew]"},
		"due, gate open, key stays": {func(in *Input) {
			in.Files.Live, in.State.Gate = leaf(now.AddDate(0, 0, -80), now.AddDate(0, 0, 10)), open
		}, "[renew]"},
		"due, failed": {func(in *Input) {
			in.Files.Live, in.RetryAt = leaf(now.AddDate(0, 0, -80), now.AddDate(0, 0, 10)), now.Add(1)
		}, "[]"},
		"due, failed, by hand": {func(in *Input) {
			in.Files.Live, in.RetryAt, in.Word.Now = leaf(now.AddDate(0, 0, -80), now.AddDate(0, 0, 10)), now.Add(1), true
		}, "[renew]"},
		"expired":                  {func(in *Input) { in.Files.Live = leaf(now.AddDate(0, 0, -80), now.AddDate(0, 0, -1)) }, "[renew]"},
		"half of six days":         {func(in *Input) { in.Files.Live = leaf(now.Add(-81*time.Hour), now.Add(79*time.Hour)) }, "[renew]"},
		"at 10 %":                  {func(in *Input) { in.Line.RenewAt = 10 }, "[renew]"},
		"names changed":            {func(in *Input) { in.Line.Names = []string{"b.example", "a.example"} }, "[renew]"},
		"forced":                   {func(in *Input) { in.Word.Renew = true }, "[renew]"},
		"rollover, shut":           {func(in *Input) { in.State.Rollover = now }, "[]"},
		"rollover, shut, due":      {func(in *Input) { in.State.Rollover, in.Word.Renew = now, true }, "[renew]"},
		"rollover, open":           {func(in *Input) { in.State.Rollover, in.State.Gate = now, open }, "[issue]"},
		"rollover, not settled":    {func(in *Input) { in.State.Rollover, in.State.Gate, in.State.Served = now, open, nil }, "[probe]"},
		"rollover, hook due":       {func(in *Input) { in.State.Rollover, in.State.Gate, in.State.Deploy.Done = now, open, 0 }, "[deploy]"},
		"rollover, no next":        {func(in *Input) { in.State.Rollover, in.Files.Next, in.Line.NextKey = now, nil, false }, "[make-key]"},
		"no next wanted":           {func(in *Input) { in.Files.Next, in.Line.NextKey = nil, false }, "[]"},
		"next wanted":              {func(in *Input) { in.Files.Next = nil }, "[make-key]"},
		"next wanted, not settled": {func(in *Input) { in.Files.Next, in.State.Served = nil, nil }, "[probe]"},
		"next wanted and due":      {func(in *Input) { in.Files.Next, in.Word.Renew = nil, true }, "[make-key renew]"},
		"key too old, shut":        {func(in *Input) { in.Line.MaxKeyAge = time.Hour }, "[]"},
		"key too old, open":        {func(in *Input) { in.Line.MaxKeyAge, in.State.Gate = time.Hour, open }, "[issue]"},
		"no reuse, not due":        {func(in *Input) { in.Line.ReuseKey, in.State.Gate = false, open }, "[]"},
		"no reuse, due":            {func(in *Input) { in.Line.ReuseKey, in.State.Gate, in.Word.Renew = false, open, true }, "[issue]"},
		"no reuse, due, shut":      {func(in *Input) { in.Line.ReuseKey, in.Word.Renew = false, true }, "[renew]"},
		"no reuse, due, refused before": {func(in *Input) {
			in.Line.ReuseKey, in.State.Gate, in.Word.Renew, in.State.ChangeFailed = false, open, true, next.Hash()
		}, "[renew]"},
		"rollover, refused before, not due": {func(in *Input) { in.State.Rollover, in.State.Gate, in.State.ChangeFailed = now, open, next.Hash() }, "[issue]"},
		"break, shut":                       {func(in *Input) { in.Word.Break = true }, "[issue]"},
		"break, not settled":                {func(in *Input) { in.Word.Break, in.State.Served = true, nil }, "[issue probe]"},
		"break, no next":                    {func(in *Input) { in.Word.Break, in.Files.Next = true, nil }, "[make-key]"},
		"key of live lost, shut":            {func(in *Input) { in.Files.Live.Key = nil }, "[]"},
		"key of live lost, due":             {func(in *Input) { in.Files.Live.Key, in.Word.Renew = nil, true }, "[]"},
		"key of live lost, open":            {func(in *Input) { in.Files.Live.Key, in.State.Gate = nil, open }, "[issue]"},
		"order on its way":                  {func(in *Input) { in.Order = &acmeclient.Order{Phase: acmeclient.PhaseFinalizing} }, "[resume]"},
		"order barely begun":                {func(in *Input) { in.Order = &acmeclient.Order{Phase: acmeclient.PhaseOrdered} }, "[abandon]"},
		"order, due":                        {func(in *Input) { in.Order, in.Word.Renew = &acmeclient.Order{Phase: acmeclient.PhaseOrdered}, true }, "[renew]"},
		"order, due, failed": {func(in *Input) {
			in.Order, in.RetryAt, in.Files.Live = &acmeclient.Order{Phase: acmeclient.PhaseOrdered}, now.Add(1), leaf(now.AddDate(0, 0, -80), now.AddDate(0, 0, 10))
		}, "[]"},
		"order and first": {func(in *Input) {
			in.Files.Live, in.State.Gate, in.Order = nil, open, &acmeclient.Order{Phase: acmeclient.PhaseIssued}
		}, "[resume]"},
		"hooks of another":           {func(in *Input) { in.State.Deploy.Generation = 6 }, "[deploy]"},
		"hook failed":                {func(in *Input) { in.State.Deploy = Deploy{Generation: 7, Tries: 1, RetryAt: now.Add(1)} }, "[]"},
		"hook failed before":         {func(in *Input) { in.State.Deploy = Deploy{Generation: 7, Tries: 1, RetryAt: now} }, "[deploy]"},
		"service lags, same key":     {func(in *Input) { in.State.Served["s"] = Serving{Generation: 6, Key: live.Hash()} }, "[probe]"},
		"service cannot be asked":    {func(in *Input) { in.State.Served, in.Services[0].ProbeOff = nil, true }, "[]"},
		"requests: new one":          {func(in *Input) { in.Line.CSR, in.Files.Next, in.Files.Wanted = "csr", nil, next }, "[make-key]"},
		"requests: none":             {func(in *Input) { in.Line.CSR, in.Files.Next = "csr", nil }, "[]"},
		"requests: other key, open":  {func(in *Input) { in.Line.CSR, in.Files.Live.Key, in.State.Gate = "csr", nil, open }, "[issue]"},
		"requests: age is not known": {func(in *Input) { in.Line.CSR, in.Line.MaxKeyAge, in.State.Gate = "csr", time.Hour, open }, "[]"},
	} {
		in := steady()
		c.change(&in)
		got := []Step{}
		for _, d := range Decide(in).Steps {
			got = append(got, d.Step)
			if d.Why == "" {
				t.Errorf("%s: no reason for %s", name, d.Step)
			}
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
}
