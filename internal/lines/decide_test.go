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
	cert := (&Generation{Chain: []*x509.Certificate{{}}}).ID()
	open := Gate{Key: next.Hash(), Owners: map[string]Clock{"_25._tcp.h.example.": {Since: now.Add(-time.Hour), TTL: 60}}}
	shut := Gate{Key: next.Hash(), Owners: map[string]Clock{"_25._tcp.h.example.": {Missing: "ns lacks it"}}}
	bare := Gate{Key: next.Hash(), Owners: map[string]Clock{"_25._tcp.h.example.": {Since: now.AddDate(0, -1, 0), None: true, TTL: 60}}}
	stolen := Revoked{Cert: cert, Key: live.Hash()}
	way := func(key string, created time.Time) *acmeclient.Order {
		return &acmeclient.Order{Phase: acmeclient.PhaseFinalizing, Key: key, Created: created}
	}
	steady := func() Input {
		return Input{
			Line:     config.Line{Name: "l", Names: []string{"a.example"}, ReuseKey: true, NextKey: true, Services: []string{"s"}, Deploy: [][]string{{"x"}}},
			Services: []config.Service{{Name: "s", Host: domain.MustParse("h.example"), Port: 25, Proto: "tcp", TLSA: true}},
			Files:    Files{Live: leaf(now.AddDate(0, 0, -10), now.AddDate(0, 0, 80)), Next: next},
			State: State{
				Gate: shut, Deploy: Deploy{Cert: cert, Ran: []string{hookID([]string{"x"})}},
				Served: map[string]Serving{"s": {Cert: cert, Key: live.Hash()}},
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
		"rollover, hook due":       {func(in *Input) { in.State.Rollover, in.State.Gate, in.State.Deploy.Ran = now, open, nil }, "[deploy]"},
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
		"order on its way":                  {func(in *Input) { in.Order = way("live", now) }, "[resume]"},
		"order for the next key, shut":      {func(in *Input) { in.Order = way("next", now) }, "[]"},
		"order for the next key, open":      {func(in *Input) { in.Order, in.State.Gate = way("next", now), open }, "[resume]"},
		"order for the next key, due":       {func(in *Input) { in.Order, in.Word.Renew = way("next", now), true }, "[abandon renew]"},
		"order for the next key, break":     {func(in *Input) { in.Order, in.Word.Break = way("next", now), true }, "[resume]"},
		"order for the next key, put off":   {func(in *Input) { in.Order, in.State.Gate, in.RetryAt = way("next", now), open, now.Add(1) }, "[]"},
		"order for a lost key, due":         {func(in *Input) { in.Order, in.Word.Renew = way("lost", now), true }, "[abandon renew]"},
		"order of yesterday":                {func(in *Input) { in.Order = way("live", now.Add(-25*time.Hour)) }, "[abandon]"},
		"fresh, and due":                    {func(in *Input) { in.Fresh, in.Line.RenewAt = true, 10 }, "[]"},
		"due, but just stored":              {func(in *Input) { in.Line.RenewAt, in.State.Stored = 10, Stored{At: now.Add(-59 * time.Second)} }, "[]"},
		"due, stored a minute ago":          {func(in *Input) { in.Line.RenewAt, in.State.Stored = 10, Stored{At: now.Add(-time.Minute)} }, "[renew]"},
		"due, the fourth in haste": {func(in *Input) {
			in.Line.RenewAt, in.State.Stored = 10, Stored{At: now.Add(-23 * time.Hour), Quick: 3}
		}, "[]"},
		"due, in haste, by hand": {func(in *Input) {
			in.Line.RenewAt, in.State.Stored, in.Word.Now = 10, Stored{At: now.Add(-23 * time.Hour), Quick: 3}, true
		}, "[renew]"},
		"due, stored in the future":  {func(in *Input) { in.Line.RenewAt, in.State.Stored = 10, Stored{At: now.Add(time.Hour), Quick: 3} }, "[renew]"},
		"names of other case, twice": {func(in *Input) { in.Files.Live.Chain[0].DNSNames = []string{"A.Example", "a.example"} }, "[]"},
		"rollover, no services":      {func(in *Input) { in.State.Rollover, in.State.Gate, in.Services = now, open, nil }, "[]"},
		"rollover, dane = false":     {func(in *Input) { in.State.Rollover, in.Services, in.Line.NoDANE = now, nil, true }, "[issue]"},
		"rollover, no TLSA at all":   {func(in *Input) { in.State.Rollover, in.State.Gate = now, bare }, "[]"},
		"first, no services":         {func(in *Input) { in.Files.Live, in.Services = nil, nil }, "[issue]"},
		"order barely begun":         {func(in *Input) { in.Order = &acmeclient.Order{Phase: acmeclient.PhaseOrdered} }, "[abandon]"},
		"order, due":                 {func(in *Input) { in.Order, in.Word.Renew = &acmeclient.Order{Phase: acmeclient.PhaseOrdered}, true }, "[renew]"},
		"order, due, failed": {func(in *Input) {
			in.Order, in.RetryAt, in.Files.Live = &acmeclient.Order{Phase: acmeclient.PhaseOrdered}, now.Add(1), leaf(now.AddDate(0, 0, -80), now.AddDate(0, 0, 10))
		}, "[]"},
		"order and first": {func(in *Input) {
			in.Files.Live, in.State.Gate, in.Order = nil, open, way("next", now)
		}, "[resume]"},
		"hooks of another": {func(in *Input) { in.State.Deploy.Cert = "old" }, "[deploy]"},
		"hook failed": {func(in *Input) {
			in.State.Deploy = Deploy{Cert: cert, Failed: hookID([]string{"x"}), Tries: 1, RetryAt: now.Add(1)}
		}, "[]"},
		"hook failed, RetryAt of a wrong clock": {func(in *Input) {
			in.State.Deploy = Deploy{Cert: cert, Failed: hookID([]string{"x"}), Tries: 1, RetryAt: now.AddDate(4, 0, 0)}
		}, "[deploy]"},
		"another hook failed": {func(in *Input) { in.State.Deploy = Deploy{Cert: cert, Failed: "y", Tries: 1, RetryAt: now.Add(1)} }, "[deploy]"},
		"a hook more":         {func(in *Input) { in.Line.Deploy = [][]string{{"x"}, {"y"}} }, "[deploy]"},
		"a hook less":         {func(in *Input) { in.Line.Deploy = nil }, "[]"},
		"hook failed before": {func(in *Input) {
			in.State.Deploy = Deploy{Cert: cert, Failed: hookID([]string{"x"}), Tries: 1, RetryAt: now}
		}, "[deploy]"},
		"service lags, same key":      {func(in *Input) { in.State.Served["s"] = Serving{Cert: "old", Key: live.Hash()} }, "[probe]"},
		"service cannot be asked":     {func(in *Input) { in.State.Served, in.Services[0].ProbeOff = nil, true }, "[]"},
		"compromised, not settled":    {func(in *Input) { in.State.Revoked, in.State.Served, in.Files.Next = stolen, nil, nil }, "[make-key]"},
		"compromised, hook due, shut": {func(in *Input) { in.State.Revoked, in.State.Deploy = stolen, Deploy{} }, "[]"},
		"compromised, hook due, open": {func(in *Input) { in.State.Revoked, in.State.Deploy, in.State.Gate = stolen, Deploy{}, open }, "[issue]"},
		"revoked, hook due":           {func(in *Input) { in.State.Revoked, in.State.Deploy = Revoked{Cert: cert}, Deploy{} }, "[renew]"},
		"revoked before, hook due":    {func(in *Input) { in.State.Revoked, in.State.Deploy = Revoked{Cert: "old"}, Deploy{} }, "[deploy]"},
		"links astray, hook due":      {func(in *Input) { in.Files.Live.Astray, in.State.Deploy = true, Deploy{} }, "[link deploy]"},
		"requests: new one":           {func(in *Input) { in.Line.CSR, in.Files.Next, in.Files.Wanted = "csr", nil, next }, "[make-key]"},
		"requests: none":              {func(in *Input) { in.Line.CSR, in.Files.Next = "csr", nil }, "[]"},
		"requests: other key, open":   {func(in *Input) { in.Line.CSR, in.Files.Live.Key, in.State.Gate = "csr", nil, open }, "[issue]"},
		"requests: age is not known": {func(in *Input) {
			in.Line.CSR, in.Line.MaxKeyAge, in.State.Gate = "csr", time.Hour, open
			in.Files.Live.Key = &Key{ID: "csr-live", SPKI: live.SPKI, CSR: []byte("csr")}
		}, "[]"},
		"requests: keys were made here before":     {func(in *Input) { in.Line.CSR, in.State.Gate = "csr", open }, "[issue]"},
		"requests: keys were made here, shut, due": {func(in *Input) { in.Line.CSR, in.Word.Renew = "csr", true }, "[renew]"},
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
