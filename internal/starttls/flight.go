package starttls

import (
	"crypto/tls"
	"io"

	"golang.org/x/crypto/cryptobyte"
)

// flight is what a server sends in the clear, up to its certificates: with TLS
// 1.2 and older, those too; with TLS 1.3 the ServerHello.
type flight struct {
	version uint16
	suite   uint16
	retry   bool     // a HelloRetryRequest: nothing is chosen yet
	chain   [][]byte // in DER
	alert   int      // the last one; -1: none
}

func (f flight) served() Served {
	s := Served{Chain: f.chain, Version: f.version, CipherSuite: f.suite}
	if len(s.Chain) > 0 {
		s.Key, _ = keyOf(s.Chain[0])
	}
	return s
}

// Bounds, as crypto/tls has them, and numbers of RFC 8446.
const (
	maxRecord      = 16384 + 2048 // octets in a record
	maxCertificate = 256 << 10    // octets of a Certificate message
	maxFlight      = maxCertificate + 64<<10
	maxMessages    = 16 // before the certificates; there are one or two

	recordAlert     = 21
	recordHandshake = 22
	alertWarning    = 1

	msgServerHello = 2
	msgCertificate = 11

	extSupportedVersions = 43
)

// helloRetry is the random of a HelloRetryRequest (RFC 8446 §4.1.3).
const helloRetry = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"

// readFlight reads until the certificates have come, or nothing more is of use.
// What is broken ends it: it is a look at what there is, not a check.
func readFlight(r io.Reader) flight {
	m := messages{r: io.LimitReader(r, maxFlight), alert: -1}
	f := flight{}
	for range maxMessages {
		typ, body, ok := m.next()
		if !ok {
			break
		}
		if typ == msgServerHello {
			f.readHello(body)
			if f.version == tls.VersionTLS13 {
				break // what follows is encrypted
			}
		}
		if typ == msgCertificate {
			f.readChain(body)
			break
		}
	}
	f.alert = m.alert
	return f
}

// readHello reads a ServerHello (RFC 8446 §4.1.3, RFC 5246 §7.4.1.3).
func (f *flight) readHello(s cryptobyte.String) {
	var random []byte
	var session, extensions cryptobyte.String
	var compression uint8
	if !s.ReadUint16(&f.version) || !s.ReadBytes(&random, 32) || !s.ReadUint8LengthPrefixed(&session) ||
		!s.ReadUint16(&f.suite) || !s.ReadUint8(&compression) {
		return
	}
	f.retry = string(random) == helloRetry
	if !s.ReadUint16LengthPrefixed(&extensions) {
		return
	}
	for !extensions.Empty() {
		var typ, version uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&typ) || !extensions.ReadUint16LengthPrefixed(&data) {
			return
		}
		if typ == extSupportedVersions && data.ReadUint16(&version) {
			f.version = version
		}
	}
}

// readChain reads a Certificate message of TLS 1.2 and older (RFC 5246 §7.4.2).
func (f *flight) readChain(s cryptobyte.String) {
	var list cryptobyte.String
	if !s.ReadUint24LengthPrefixed(&list) {
		return
	}
	for !list.Empty() {
		var der cryptobyte.String
		if !list.ReadUint24LengthPrefixed(&der) || len(der) == 0 {
			return
		}
		f.chain = append(f.chain, der)
	}
}

// messages puts handshake messages together from records.
type messages struct {
	r     io.Reader
	buf   []byte // of handshake messages, not yet taken
	alert int
}

// next gives a message; not ok when no more can be had.
func (m *messages) next() (typ byte, body []byte, ok bool) {
	if !m.fill(4) {
		return 0, nil, false
	}
	n := int(m.buf[1])<<16 | int(m.buf[2])<<8 | int(m.buf[3])
	if n > maxCertificate || !m.fill(4+n) {
		return 0, nil, false
	}
	typ, body = m.buf[0], m.buf[4:4+n]
	m.buf = m.buf[4+n:]
	return typ, body, true
}

// fill reads records until n octets are there.
func (m *messages) fill(n int) bool {
	for len(m.buf) < n {
		var head [5]byte
		if _, err := io.ReadFull(m.r, head[:]); err != nil {
			return false
		}
		size := int(head[3])<<8 | int(head[4])
		if head[1] != 3 || size > maxRecord {
			return false
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(m.r, payload); err != nil {
			return false
		}
		switch head[0] {
		case recordHandshake:
			m.buf = append(m.buf, payload...)
		case recordAlert:
			if size != 2 {
				return false
			}
			m.alert = int(payload[1])
			if payload[0] != alertWarning {
				return false
			}
		default: // what follows is encrypted
			return false
		}
	}
	return true
}
