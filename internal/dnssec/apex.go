package dnssec

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
	"zonebuild/internal/rrset"
)

// CDS says what a zone tells its parent about the DS there (RFC 7344, RFC 8078).
type CDS uint8

const (
	NoCDS      CDS = iota
	PublishCDS     // a CDS (SHA-256) and a CDNSKEY of each key that signs the DNSKEY set
	DeleteCDS      // the parent is asked to remove the DS (RFC 8078 §4)
)

// zonemdSimple is the only scheme (RFC 8976 §5.2).
const zonemdSimple = 1

// zonemdHash makes the hash of a ZONEMD algorithm (RFC 8976 §5.3).
func zonemdHash(algorithm uint8) hash.Hash {
	if algorithm == dns.ZoneMDHashAlgSHA512 {
		return sha512.New()
	}
	return sha512.New384()
}

// buildMade makes the records of the apex that are the signer's: DNSKEY, CDS,
// CDNSKEY, NSEC3PARAM and a ZONEMD whose digest is made last.
func (p *Plan) buildMade(salt []byte) error {
	var b rrset.Builder
	var failed error
	add := func(typ uint16, ttl int64, rdata []byte) {
		if err := b.Add(p.apex(), typ, ttl, rdata, rrset.Pos{}); err != nil && failed == nil {
			failed = err
		}
	}
	keyTTL := int64(p.policy.DNSKEYTTL)
	for i := range p.keys {
		k := &p.keys[i]
		if !k.Published {
			continue
		}
		rdata, err := dnskeyRdata(&k.DNSKEY)
		if err != nil {
			return err
		}
		add(dns.TypeDNSKEY, keyTTL, rdata)
		if p.policy.CDS == PublishCDS && k.SignsKeys {
			ds, err := dsRdata(DS(k, dns.SHA256))
			if err != nil {
				return err
			}
			add(dns.TypeCDS, keyTTL, ds)
			add(dns.TypeCDNSKEY, keyTTL, rdata)
		}
	}
	if p.policy.CDS == DeleteCDS {
		add(dns.TypeCDS, keyTTL, []byte{0, 0, 0, 0, 0})
		add(dns.TypeCDNSKEY, keyTTL, []byte{0, 0, 3, 0, 0})
	}
	if p.policy.Denial != NSEC {
		add(dns.TypeNSEC3PARAM, 0, append([]byte{dns.SHA1, 0, 0, 0, byte(len(salt))}, salt...))
	}
	if a := p.policy.ZoneMD; a != 0 {
		soaTTL, _ := p.zone.Records().TTL(p.zone.SOA())
		add(dns.TypeZONEMD, int64(soaTTL), append([]byte{0, 0, 0, 0, zonemdSimple, a}, make([]byte, zonemdHash(a).Size())...))
	}
	p.made = b.Set().Sorted()
	return failed
}

func dnskeyRdata(k *dns.DNSKEY) ([]byte, error) {
	b := binary.BigEndian.AppendUint16(nil, k.Flags)
	b = append(b, k.Protocol, k.Algorithm)
	return base64.StdEncoding.AppendDecode(b, []byte(k.PublicKey))
}

func dsRdata(ds *dns.DS) ([]byte, error) {
	b := binary.BigEndian.AppendUint16(nil, ds.KeyTag)
	b = append(b, ds.Algorithm, ds.DigestType)
	return hex.AppendDecode(b, []byte(ds.Digest))
}

func dnskeyFromRdata(apex domain.Name, rdata []byte) dns.DNSKEY {
	return dns.DNSKEY{
		Hdr:       dns.RR_Header{Name: apex.String(), Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET},
		Flags:     binary.BigEndian.Uint16(rdata),
		Protocol:  rdata[2],
		Algorithm: rdata[3],
		PublicKey: base64.StdEncoding.EncodeToString(rdata[4:]),
	}
}

// ofKeys reports whether the records of a type speak of the zone's keys: those
// that sign the DNSKEY set sign them too (RFC 7344 §4.1).
func ofKeys(typ uint16) bool {
	return typ == dns.TypeDNSKEY || typ == dns.TypeCDS || typ == dns.TypeCDNSKEY
}
