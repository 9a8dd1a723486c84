package config

import (
	"time"
)

// Ways to know that a TLSA record has reached every server.
const (
	ObserveDNS   = "dns"   // each authoritative server is asked
	ObserveClock = "clock" // they cannot be asked: a time after the confirmation counts
)

// TLSA says how keys of certificates are rolled over (RFC 7671 §8).
type TLSA struct {
	Observe   string
	TTLs      int // between next published everywhere and ready
	Jitter    time.Duration
	Grace     time.Duration
	Propagate time.Duration // to all servers, with ObserveClock; 0 = SOA REFRESH + RETRY
}

func defaultTLSA() TLSA {
	return TLSA{Observe: ObserveDNS, TTLs: 2, Jitter: 5 * time.Minute, Grace: time.Hour}
}

func tlsaKeys(t *TLSA) []key {
	return []key{
		{"observe", oneOf(&t.Observe, ObserveDNS, ObserveClock)},
		{"ttls", number(&t.TTLs, 1, 10)},
		{"jitter", duration(&t.Jitter, 0, day)},
		{"grace", duration(&t.Grace, 0, 30*day)},
		{"propagate", duration(&t.Propagate, time.Second, 30*day)},
	}
}

// loadTLSA reads [tlsa].
func (l *loader) loadTLSA(e *entry) {
	l.read(e.val.table, "tlsa", tlsaKeys(&l.TLSA))
	if p := e.val.table.find("propagate"); p != nil && l.TLSA.Observe != ObserveClock {
		l.errorf(p.at, "config-value", "propagate has no meaning with observe = %q", l.TLSA.Observe)
	}
}

// SSHFP says what is made of the host keys in sshfp/.
type SSHFP struct {
	TTL  time.Duration
	SHA1 bool
}

func defaultSSHFP() SSHFP { return SSHFP{TTL: time.Hour} }

func sshfpKeys(s *SSHFP) []key {
	return []key{
		{"ttl", duration(&s.TTL, time.Minute, day)},
		{"sha1", boolean(&s.SHA1)},
	}
}

// loadSSHFP reads [sshfp].
func (l *loader) loadSSHFP(e *entry) { l.read(e.val.table, "sshfp", sshfpKeys(&l.SSHFP)) }
