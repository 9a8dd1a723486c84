package dnssec

import (
	"bytes"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/verify"
)

// The marks that the signer makes are those that the verifier makes from the file.
func TestLedgerOfSigner(t *testing.T) {
	const apex = "example.org"
	z := compileText(t, apex, bigText(3000))
	for _, tt := range []struct {
		name      string
		algorithm uint8
		zonemd    uint8
	}{
		{"P-256", dns.ECDSAP256SHA256, 0},
		{"Ed25519", dns.ED25519, 0},
		{"with a digest", dns.ED25519, dns.ZoneMDHashAlgSHA384},
	} {
		t.Run(tt.name, func(t *testing.T) {
			policy := testPolicy()
			policy.ZoneMD = tt.zonemd
			keys := []Key{newKey(t, apex, GenerateOptions{Algorithm: tt.algorithm, Role: CSK})}
			s, err := Sign(planFor(t, z, keys, policy, nil, testNow()), 1)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if _, err := s.WriteTo(&out); err != nil {
				t.Fatal(err)
			}
			if s.Ledger().Len() != s.New || s.New <= verify.SampleSize {
				t.Errorf("%d signatures in the ledger, %d were made", s.Ledger().Len(), s.New)
			}
			o := verify.Options{Now: testNow().Add(time.Minute), Ledger: s.Ledger(), Mode: verify.Sample}
			r, faults := verify.Bytes("zone", out.Bytes(), o)
			for _, d := range faults {
				t.Error(d)
			}
			if r.Verified+r.ByLedger != s.New || r.ByLedger == 0 || r.Verified < verify.SampleSize/2 {
				t.Errorf("of %d signatures %d were verified, %d are in the ledger", s.New, r.Verified, r.ByLedger)
			}
		})
	}
}
