package starttls

import (
	"fmt"
	"slices"
	"strings"
)

// Protocol is what a service speaks before TLS.
type Protocol uint8

// Protocols. Direct is TLS from the first octet.
const (
	Direct     Protocol = iota
	SMTP                // RFC 3207
	LMTP                // RFC 2033, RFC 3207
	IMAP                // RFC 9051 §6.2.1
	POP3                // RFC 2595 §4
	XMPPClient          // RFC 6120 §5
	XMPPServer          // RFC 6120 §5
	LDAP                // RFC 4511 §4.14
	FTP                 // RFC 4217 §4
	Sieve               // RFC 5804 §2.2
	Postgres            // PostgreSQL documentation, "SSL Session Encryption"
	NNTP                // RFC 4642 §2.2
	protocolEnd
)

// kind is what is known of a protocol.
type kind struct {
	name  string
	ports []uint16 // that it has by default
	start func(*talk) error
}

var kinds = [protocolEnd]kind{
	Direct:     {"none", nil, func(*talk) error { return nil }},
	SMTP:       {"smtp", []uint16{25, 587}, startSMTP},
	LMTP:       {"lmtp", []uint16{24}, startLMTP},
	IMAP:       {"imap", []uint16{143}, startIMAP},
	POP3:       {"pop3", []uint16{110}, startPOP3},
	XMPPClient: {"xmpp-client", []uint16{5222}, startXMPPClient},
	XMPPServer: {"xmpp-server", []uint16{5269}, startXMPPServer},
	LDAP:       {"ldap", []uint16{389}, startLDAP},
	FTP:        {"ftp", []uint16{21}, startFTP},
	Sieve:      {"sieve", []uint16{4190}, startSieve},
	Postgres:   {"postgres", []uint16{5432}, startPostgres},
	NNTP:       {"nntp", []uint16{119}, startNNTP},
}

// Protocols lists all of them.
func Protocols() []Protocol {
	ps := make([]Protocol, protocolEnd)
	for i := range ps {
		ps[i] = Protocol(i)
	}
	return ps
}

// String is the name that ParseProtocol reads.
func (p Protocol) String() string {
	if p >= protocolEnd {
		return fmt.Sprintf("protocol %d", uint8(p))
	}
	return kinds[p].name
}

// ParseProtocol reads a protocol's name; "none" is TLS from the first octet.
// Errors: there is no such protocol; the text names all.
func ParseProtocol(s string) (Protocol, error) {
	names := make([]string, protocolEnd)
	for i, k := range kinds {
		if k.name == s {
			return Protocol(i), nil
		}
		names[i] = k.name
	}
	return Direct, fmt.Errorf("%q: no such STARTTLS protocol; there are %s", s, strings.Join(names, ", "))
}

// ForPort is the protocol that a TCP port has by default: Direct for ports of no
// other.
func ForPort(port uint16) Protocol {
	for i, k := range kinds {
		if slices.Contains(k.ports, port) {
			return Protocol(i)
		}
	}
	return Direct
}
