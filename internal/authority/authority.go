// Package authority asks every address of every authoritative server of a
// zone, because a CA, a validator or a mail server may ask any of them: the
// name servers and their addresses come from DNS or from the configuration.
//
// It believes nobody but the addresses that it was sent to, follows no referral
// and caches nothing. What an answer means is for its caller to say, but for
// Judge, which compares the answers of all servers of a zone with each other
// and with the DS at the parent (RFC 4035 §5).
package authority

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/domain"
)

const (
	stepTimeout = 2 * time.Second // for a connection or an answer, TCP and UDP each
	ednsSize    = 1232            // octets of a UDP answer that cross any path whole
)

// Question makes a question to an authoritative server: no recursion. With
// dnssec set, signatures are wanted too.
func Question(name domain.Name, typ uint16, dnssec bool) *dns.Msg {
	q := new(dns.Msg)
	q.SetQuestion(name.String(), typ)
	q.RecursionDesired = false
	q.SetEdns0(ednsSize, dnssec)
	return q
}

// Exchange asks one server once, over TCP, because servers ration what they
// answer over UDP; where that gives no answer, over UDP. Errors: there was no
// answer; an answer that says no is none.
//
// Each question has a connection of its own: NSD leaves an open one with the
// process that has the old zone, and resets it when that process ends.
func Exchange(ctx context.Context, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	in, err := over(ctx, "tcp", server, q)
	if err != nil && ctx.Err() == nil {
		if late, why := over(ctx, "udp", server, q); why == nil {
			return late, nil
		}
	}
	return in, err
}

func over(ctx context.Context, network string, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	d := net.Dialer{Timeout: stepTimeout}
	c, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	in, err := exchange(ctx, &dns.Conn{Conn: c, UDPSize: ednsSize}, q)
	if err == nil && in.Truncated {
		return nil, errors.New("the answer is cut short") // by a server that rations answers, for one
	}
	return in, err
}

// exchange sends a question and reads until its answer comes: what does not
// belong to the question is passed over.
func exchange(ctx context.Context, conn *dns.Conn, q *dns.Msg) (*dns.Msg, error) {
	end := time.Now().Add(stepTimeout)
	if t, ok := ctx.Deadline(); ok && t.Before(end) {
		end = t
	}
	if err := conn.SetDeadline(end); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.WriteMsg(q); err != nil {
		return nil, err
	}
	for {
		in, err := conn.ReadMsg()
		if err == nil && answers(in, q) {
			return in, nil
		}
		var broken *dns.Error // not DNS; the next may be
		if err != nil && !errors.As(err, &broken) {
			return nil, err
		}
	}
}

func answers(in, q *dns.Msg) bool {
	if in.Id != q.Id || !in.Response || in.Opcode != q.Opcode {
		return false
	}
	if len(in.Question) == 0 { // some servers leave it out of errors
		return in.Rcode != dns.RcodeSuccess
	}
	a, b := in.Question[0], q.Question[0]
	if len(in.Question) != 1 || a.Qtype != b.Qtype || a.Qclass != b.Qclass {
		return false
	}
	got, err := domain.Parse(a.Name)
	asked, bad := domain.Parse(b.Name)
	return err == nil && bad == nil && got == asked
}

// Rcode is the mnemonic of an answer's code.
func Rcode(in *dns.Msg) string {
	if s, ok := dns.RcodeToString[in.Rcode]; ok {
		return s
	}
	return fmt.Sprintf("rcode %d", in.Rcode)
}
