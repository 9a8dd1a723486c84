package starttls

import (
	"bytes"
	"fmt"
	"io"
)

// Dialogues in binary: LDAP and PostgreSQL.

// startPostgres sends SSLRequest; the answer is one octet. A server that is
// older than SSL, or has no room for another client, sends an error message.
func startPostgres(t *talk) error {
	var answer byte
	err := t.ask("\x00\x00\x00\x08\x04\xd2\x16\x2f", func() (err error) {
		answer, err = t.in.ReadByte()
		return err
	})
	switch {
	case err != nil:
		return err
	case answer == 'S':
		return nil
	case answer == 'N':
		return fmt.Errorf("%w: the server has no TLS", ErrNoStartTLS)
	case answer == 'E':
		return fmt.Errorf("%w: the server answers with an error", ErrUnavailable)
	}
	return fmt.Errorf("%w: the server answers the SSLRequest with %s", ErrProtocol, quote(string([]byte{answer})))
}

// BER tags of RFC 4511, and result codes of its §4.1.9.
const (
	berInteger      = 0x02
	berOctets       = 0x04
	berEnumerated   = 0x0a
	berSequence     = 0x30
	ldapExtResponse = 0x78 // [APPLICATION 24]
	ldapBusy        = 51
	ldapUnavailable = 52
)

// ldapStartTLS is LDAPMessage{1, extendedReq{"1.3.6.1.4.1.1466.20037"}}.
const ldapStartTLS = "\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"

// startLDAP is RFC 4511 §4.14. The answer is in BER, where a length may have
// more octets than it needs, as Active Directory's have.
func startLDAP(t *talk) error {
	var m []byte
	err := t.ask(ldapStartTLS, func() (err error) {
		m, err = t.ber()
		return err
	})
	if err != nil {
		return err
	}
	id, m, ok1 := berNext(m, berInteger)
	op, _, ok2 := berNext(m, ldapExtResponse)
	code, op, ok3 := berNext(op, berEnumerated)
	_, op, ok4 := berNext(op, berOctets)
	text, _, ok5 := berNext(op, berOctets)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || len(code) != 1 {
		return fmt.Errorf("%w: the answer is no LDAP extended response", ErrProtocol)
	}
	said := fmt.Sprintf("result code %d %s", code[0], text)
	switch {
	case bytes.Equal(id, []byte{0}): // RFC 4511 §4.4.1: notice of disconnection
		return says(ErrUnavailable, said)
	case !bytes.Equal(id, []byte{1}):
		return fmt.Errorf("%w: the answer is to another message", ErrProtocol)
	case code[0] == 0:
		return nil
	case code[0] == ldapBusy, code[0] == ldapUnavailable:
		return says(ErrUnavailable, said)
	}
	return says(ErrNoStartTLS, said)
}

// ber reads one SEQUENCE of definite length and gives its contents.
func (t *talk) ber() ([]byte, error) {
	head, err := t.in.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0] != berSequence {
		return nil, fmt.Errorf("%w: the answer is no LDAP message", ErrProtocol)
	}
	extra := 0
	if head[1] >= 0x80 {
		extra = int(head[1] & 0x7f)
	}
	if extra > 4 || head[1] == 0x80 {
		return nil, fmt.Errorf("%w: an LDAP message of indefinite or endless length", ErrProtocol)
	}
	if head, err = t.in.Peek(2 + extra); err != nil {
		return nil, err
	}
	n, _, _ := berLength(head[1:])
	if n > maxDialogue {
		return nil, errTooMuch
	}
	t.in.Discard(2 + extra) // they were there
	m := make([]byte, n)
	_, err = io.ReadFull(t.in, m)
	return m, err
}

// berNext cuts the next element off, which must have the tag.
func berNext(b []byte, tag byte) (value, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	n, size, ok := berLength(b[1:])
	if !ok || n > len(b)-1-size {
		return nil, nil, false
	}
	b = b[1+size:]
	return b[:n], b[n:], true
}

// berLength reads a definite length (X.690 §8.1.3) and the octets it takes.
func berLength(b []byte) (n, size int, ok bool) {
	if b[0] < 0x80 {
		return int(b[0]), 1, true
	}
	size = 1 + int(b[0]&0x7f)
	if size == 1 || size > 5 || size > len(b) {
		return 0, 0, false
	}
	for _, c := range b[1:size] {
		n = n<<8 | int(c)
	}
	return n, size, n >= 0 // where an int has 32 bits
}
