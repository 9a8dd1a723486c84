// Package dnssec plans and makes the signatures of a zone (RFC 4034, RFC 4035,
// RFC 9077) and holds its keys. The plan and the signatures are functions of
// the zone, the keys, the policy, the previous signed zone and now: the same
// inputs give the same bytes.
//
// It holds no cryptography of its own: a key signs through crypto.Signer.
package dnssec

import (
	"encoding/binary"
	"hash/fnv"
	"time"
)

// Policy says how long signatures hold. All times are whole seconds.
type Policy struct {
	Validity        time.Duration // from signing to expiration, at most
	Refresh         time.Duration // a signature with less left is made anew
	InceptionOffset time.Duration // how far before signing a signature begins
	Spread          time.Duration // period over which expirations are spread, 0 = not at all
	DNSKEYTTL       uint32        // seconds
	Denial          Denial
	CDS             CDS
	ZoneMD          uint8 // hash algorithm of RFC 8976 §5.3, 0 = no ZONEMD
}

// expiration is the latest instant T ≤ signed + validity with T ≡ hash(owner,
// type) mod spread. Each RRset so has its own phase in the period, keeps it for
// ever, and the work of re-signing is even over time. Seconds since the epoch.
func (p Policy) expiration(signed int64, owner []byte, typ uint16) int64 {
	latest := signed + int64(p.Validity/time.Second)
	spread := int64(p.Spread / time.Second)
	if spread <= 0 {
		return latest
	}
	h := fnv.New64a()
	h.Write(owner)
	h.Write(binary.BigEndian.AppendUint16(nil, typ))
	phase := int64(h.Sum64() % uint64(spread))
	return latest - (latest-phase)%spread
}

// due is the instant at which a signature must be made anew.
func (p Policy) due(expiration int64) time.Time {
	return time.Unix(expiration, 0).Add(-p.Refresh).UTC()
}

// near is the instant that a time of an RRSIG stands for: the one that is within
// 68 years of now (RFC 4034 §3.1.5).
func near(v uint32, now int64) int64 { return now + int64(int32(v-uint32(now))) }
