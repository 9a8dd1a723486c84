package starttls

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"net/netip"

	"golang.org/x/crypto/cryptobyte"
)

// A ClientHello of our own asks a server what it would show to clients that
// know other algorithms than crypto/tls. No handshake ever follows.

// Numbers of IANA's TLS registries.
const (
	recordVersion = 0x0301 // of the first record, as everybody writes it
	msgHello      = 1

	extServerName   = 0
	extGroups       = 10
	extPointFormats = 11
	extSignatures   = 13
	extCertSigs     = 50
	extKeyShare     = 51

	renegotiate = 0x00ff // TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746)
)

// oldHello offers TLS 1.2 and older with all that a certificate may need: a
// server that has any answers with it in the clear.
func oldHello(o Options) []byte {
	ids := suites(o.KeyType)
	if o.KeyType != ECDSA { // with ephemeral DH, which crypto/tls lacks
		ids = append(ids, 0x009f, 0x009e, 0xccaa, 0x006b, 0x0067, 0x0039, 0x0033, 0x0016)
	}
	if o.KeyType == AnyKey { // the same for DSA keys
		ids = append(ids, 0x00a3, 0x00a2, 0x006a, 0x0040, 0x0038, 0x0032, 0x0013)
	}
	if o.KeyType != RSA { // AES-256-CBC, CCM, CAMELLIA
		ids = append(ids, 0xc024, 0xc0ad, 0xc0ac, 0xc0af, 0xc0ae, 0xc073, 0xc072)
	}
	return clientHello(o, append(ids, renegotiate), func(b *cryptobyte.Builder) {
		extension(b, extGroups, list16(29, 30, 23, 24, 25, 22, 26, 27, 28, 21, 19, 20, 256, 257, 258))
		extension(b, extPointFormats, func(b *cryptobyte.Builder) { b.AddBytes([]byte{3, 0, 1, 2}) })
		extension(b, extSignatures, list16(allSignatures()...))
	})
}

// newHello offers TLS 1.3 with nothing but signature schemes that crypto/tls
// lacks: a server goes on only if it has a key for one of them.
func newHello(o Options) []byte {
	groups := []struct {
		id    uint16
		curve ecdh.Curve
	}{{29, ecdh.X25519()}, {23, ecdh.P256()}, {24, ecdh.P384()}, {25, ecdh.P521()}}
	return clientHello(o, []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256},
		func(b *cryptobyte.Builder) {
			extension(b, extGroups, list16(29, 23, 24, 25))
			extension(b, extSignatures, list16(foreignSignatures()...))
			extension(b, extCertSigs, list16(allSignatures()...))
			extension(b, extSupportedVersions, func(b *cryptobyte.Builder) { b.AddBytes([]byte{2, 3, 4}) })
			extension(b, extKeyShare, func(b *cryptobyte.Builder) { // of each group: a server that must ask for one decides nothing
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
					for _, g := range groups {
						key, err := g.curve.GenerateKey(rand.Reader)
						if err != nil { // never, by the documentation of crypto/rand
							b.SetError(err)
							return
						}
						b.AddUint16(g.id)
						b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(key.PublicKey().Bytes()) })
					}
				})
			})
		})
}

// foreignSignatures are Ed448, RSASSA-PSS keys, brainpool curves, ML-DSA.
func foreignSignatures() []uint16 {
	return []uint16{0x0808, 0x0809, 0x080a, 0x080b, 0x081a, 0x081b, 0x081c, 0x0904, 0x0905, 0x0906}
}

// allSignatures are these, those of crypto/tls, and the old ones with SHA-224,
// SHA-1 and DSA.
func allSignatures() []uint16 {
	return append(foreignSignatures(),
		0x0403, 0x0503, 0x0603, 0x0807, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601,
		0x0303, 0x0301, 0x0302, 0x0402, 0x0502, 0x0602, 0x0203, 0x0201, 0x0202)
}

// clientHello makes a ClientHello in its record (RFC 8446 §4.1.2, §5.1).
func clientHello(o Options, suites []uint16, extensions func(*cryptobyte.Builder)) []byte {
	random := make([]byte, 32+32) // and a session, as clients of TLS 1.3 have it
	rand.Read(random)
	var b cryptobyte.Builder
	b.AddUint8(recordHandshake)
	b.AddUint16(recordVersion)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint8(msgHello)
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint16(tls.VersionTLS12)
			b.AddBytes(random[:32])
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(random[32:]) })
			list16(suites...)(b)
			b.AddBytes([]byte{1, 0}) // no compression
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				serverName(b, o.ServerName)
				extensions(b)
			})
		})
	})
	return b.BytesOrPanic() // everything in it is short, and rand.Reader does not fail
}

// serverName is RFC 6066 §3: names only, no addresses.
func serverName(b *cryptobyte.Builder, name string) {
	if _, err := netip.ParseAddr(name); err == nil || name == "" {
		return
	}
	extension(b, extServerName, func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint8(0) // a host name
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(name)) })
		})
	})
}

func extension(b *cryptobyte.Builder, typ uint16, data func(*cryptobyte.Builder)) {
	b.AddUint16(typ)
	b.AddUint16LengthPrefixed(data)
}

// list16 is a list of numbers with its length in octets before it.
func list16(numbers ...uint16) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, n := range numbers {
				b.AddUint16(n)
			}
		})
	}
}
