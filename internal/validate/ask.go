package validate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/authority"
	"zonebuild/internal/domain"
)

const (
	askTimeout = 8 * time.Second // for the answer of one server
	askTries   = 2               // a resolver may need longer for a name than it is given, and then knows it
)

// Exchanger puts a question to somebody who fetches the answer, with signatures,
// and does not judge it. Errors: there was no answer.
type Exchanger interface {
	Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error)
}

// Recursive is a list of recursive resolvers, asked in turn until one answers.
type Recursive authority.Resolver

// Exchange asks. An answer that is neither NOERROR nor NXDOMAIN nor YXDOMAIN is
// passed over while there is somebody else to ask.
func (r Recursive) Exchange(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
	last := authority.ErrNoResolver
	var refused *dns.Msg
	for range askTries {
		for _, server := range r {
			in, err := exchange(ctx, server.String(), func(ctx context.Context) (*dns.Msg, error) {
				return authority.Exchange(ctx, server, q)
			})
			switch {
			case err != nil:
				last = err
			case !answered(in):
				refused = in
			default:
				return in, nil
			}
			if ctx.Err() != nil {
				return nil, last
			}
		}
		if refused != nil {
			return refused, nil
		}
	}
	return nil, last
}

func exchange(ctx context.Context, server string, ask func(context.Context) (*dns.Msg, error)) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	in, err := ask(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", server, err)
	}
	return in, nil
}

func answered(in *dns.Msg) bool {
	return in.Rcode == dns.RcodeSuccess || in.Rcode == dns.RcodeNameError || in.Rcode == dns.RcodeYXDomain
}

// setKey names an RRset of a message.
type setKey struct {
	name domain.Name
	typ  uint16
}

// rrset is an RRset with the signatures that came with it. Owner names are
// spelled alike in all of them.
type rrset struct {
	setKey
	rrs  []dns.RR
	sigs []*dns.RRSIG
}

// message is an answer, by RRset.
type message struct {
	rcode     int
	answer    map[setKey]*rrset
	authority map[setKey]*rrset
}

// ask puts one question, with DO and CD set: signatures are wanted and the
// resolver's own judgement is not.
func (j *job) ask(name domain.Name, typ uint16) (*message, error) {
	if j.questions++; j.questions > maxQuestions {
		return nil, fmt.Errorf("more than %d questions for one look-up", maxQuestions)
	}
	q := question(name, typ)
	q.CheckingDisabled = true
	return read(j.v.Resolver.Exchange(j.ctx, q))
}

// read takes an answer apart. Errors: it is none.
func read(in *dns.Msg, err error) (*message, error) {
	switch {
	case err != nil:
		return nil, err
	case in == nil:
		return nil, errors.New("no answer")
	case !answered(in):
		return nil, fmt.Errorf("the resolver answers %s", authority.Rcode(in))
	case in.Truncated:
		return nil, errors.New("the answer is cut short")
	}
	return &message{in.Rcode, sets(in.Answer), sets(in.Ns)}, nil
}

// question makes a question to a resolver. The name is spelled as miekg/dns
// spells what it reads from the wire: package authority compares the spellings.
func question(name domain.Name, typ uint16) *dns.Msg {
	q := authority.Question(name, typ, true)
	q.RecursionDesired = true
	if spelled, _, err := dns.UnpackDomainName([]byte(name.Wire()), 0); err == nil {
		q.Question[0].Name = spelled
	}
	return q
}

// sets sorts a section into RRsets. What has a foreign class, no sound name or no
// rdata at all, which miekg/dns reads as a bare header, is left out.
func sets(section []dns.RR) map[setKey]*rrset {
	out := map[setKey]*rrset{}
	at := func(name domain.Name, typ uint16) *rrset {
		k := setKey{name, typ}
		s := out[k]
		if s == nil {
			s = &rrset{setKey: k}
			out[k] = s
		}
		return s
	}
	for _, rr := range section {
		if rr == nil || rr.Header().Class != dns.ClassINET {
			continue
		}
		if _, bare := rr.(*dns.RR_Header); bare {
			continue
		}
		name, err := domain.Parse(rr.Header().Name)
		if err != nil {
			continue
		}
		rr = dns.Copy(rr) // it may be somebody else's too
		rr.Header().Name = name.String()
		if sig, ok := rr.(*dns.RRSIG); ok {
			s := at(name, sig.TypeCovered)
			s.sigs = append(s.sigs, sig)
			continue
		}
		s := at(name, rr.Header().Rrtype)
		s.rrs = append(s.rrs, rr)
	}
	for k, s := range out {
		if len(s.rrs) == 0 { // signatures of what did not come
			delete(out, k)
		}
	}
	return out
}

// nameOf is a name in rdata.
func nameOf(text string) (domain.Name, bool) {
	n, err := domain.Parse(text)
	return n, err == nil
}
