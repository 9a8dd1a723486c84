package lab

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"
)

// Flags of a query; they are added up.
type Flags uint8

const (
	RD  Flags = 1 << iota // recursion desired
	DO                    // DNSSEC records wanted
	CD                    // no validation
	AD                    // the AD bit is understood
	TCP                   // over TCP; else UDP, and TCP if the answer is cut
	CH                    // class CHAOS
)

// Query asks a server (HOST:PORT) for a name and a type such as "TXT". No
// answer fails the test; an answer of any rcode does not.
func Query(t testing.TB, addr, name, qtype string, flags Flags) *dns.Msg {
	t.Helper()
	m, err := exchange(addr, name, qtype, flags)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func exchange(addr, name, qtype string, flags Flags) (*dns.Msg, error) {
	number, known := dns.StringToType[qtype]
	if !known {
		return nil, fmt.Errorf("query %s: no such type: %s", name, qtype)
	}
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), number)
	if flags&CH != 0 {
		q.Question[0].Qclass = dns.ClassCHAOS
	}
	q.RecursionDesired = flags&RD != 0
	q.CheckingDisabled = flags&CD != 0
	q.AuthenticatedData = flags&AD != 0
	q.SetEdns0(1232, flags&DO != 0)
	client := dns.Client{Timeout: queryTimeout}
	if flags&TCP != 0 {
		client.Net = "tcp"
	}
	m, _, err := client.Exchange(q, addr)
	if err == nil && m.Truncated && client.Net == "" {
		client.Net = "tcp"
		m, _, err = client.Exchange(q, addr)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s for %s %s: %w", addr, name, qtype, err)
	}
	return m, nil
}
