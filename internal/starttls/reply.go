package starttls

import (
	"fmt"
	"strings"
)

// Dialogues of three-digit replies: SMTP, LMTP, FTP, NNTP.

// reply is an answer to SMTP or FTP (RFC 5321 §4.2, RFC 959 §4.2).
type reply struct {
	code  string   // three digits
	lines []string // without the code where it was there
}

func (r reply) String() string {
	return strings.TrimSpace(r.code + " " + r.lines[len(r.lines)-1])
}

// refusal is the error of a reply that is not the one that was wanted: 4yz is for
// now, and so are all kinds of a refused greeting; other is for the rest.
func (r reply) refusal(other error) error {
	if r.code[0] == '4' {
		return says(ErrUnavailable, r.String())
	}
	return says(other, r.String())
}

// reply asks and reads the reply. Inside one, FTP allows lines without the code.
func (t *talk) reply(say string, loose bool) (r reply, err error) {
	err = t.ask(say, func() error {
		return t.lines(func(s string) (bool, error) {
			code, ok := replyCode(s)
			switch {
			case ok && (r.code == "" || code == r.code):
				r.code = code
				r.lines = append(r.lines, s[min(len(s), 4):])
				return len(s) == 3 || s[3] == ' ', nil
			case loose && r.code != "":
				r.lines = append(r.lines, s)
				return false, nil
			default:
				return false, fmt.Errorf("%w: %s is no reply", ErrProtocol, quote(s))
			}
		})
	})
	return r, err
}

func replyCode(s string) (string, bool) {
	if len(s) < 3 || s[0] < '1' || s[0] > '6' || !digit(s[1]) || !digit(s[2]) {
		return "", false
	}
	return s[:3], len(s) == 3 || s[3] == ' ' || s[3] == '-'
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func startSMTP(t *talk) error { return t.mail("EHLO") }

func startLMTP(t *talk) error { return t.mail("LHLO") }

// mail is RFC 3207 §4.
func (t *talk) mail(hello string) error {
	r, err := t.reply("", false)
	if err != nil {
		return err
	}
	if r.code != "220" {
		return r.refusal(ErrUnavailable)
	}
	if r, err = t.reply(hello+" "+t.hello+"\r\n", false); err != nil {
		return err
	}
	if r.code != "250" {
		return r.refusal(ErrNoStartTLS) // 500 and 502: older than extensions
	}
	if !r.offers("STARTTLS") {
		return fmt.Errorf("%w: it is not among the server's extensions", ErrNoStartTLS)
	}
	if r, err = t.reply("STARTTLS\r\n", false); err != nil {
		return err
	}
	if r.code != "220" {
		return r.refusal(ErrNoStartTLS)
	}
	return nil
}

// offers looks for a keyword in the lines of a reply to EHLO; the first of them
// is the server's name.
func (r reply) offers(keyword string) bool {
	for _, s := range r.lines[1:] {
		if first, _ := word(s); strings.EqualFold(first, keyword) {
			return true
		}
	}
	return false
}

// startFTP is RFC 4217 §4. FEAT is not asked: a server need not have it.
func startFTP(t *talk) error {
	r, err := t.reply("", true)
	if err != nil {
		return err
	}
	if r.code != "220" {
		return r.refusal(ErrUnavailable)
	}
	if r, err = t.reply("AUTH TLS\r\n", true); err != nil {
		return err
	}
	if r.code != "234" {
		return r.refusal(ErrNoStartTLS)
	}
	return nil
}

// startNNTP is RFC 4642 §2.2. A server older than RFC 3977 has no CAPABILITIES;
// STARTTLS itself tells.
func startNNTP(t *talk) error {
	r, err := t.nntp("")
	if err != nil {
		return err
	}
	if r.code != "200" && r.code != "201" {
		return r.refusal(ErrUnavailable)
	}
	if r, err = t.nntp("CAPABILITIES\r\n"); err != nil {
		return err
	}
	if r.code == "101" {
		if offered, err := t.block("STARTTLS"); err != nil {
			return err
		} else if !offered {
			return fmt.Errorf("%w: it is not among the server's capabilities", ErrNoStartTLS)
		}
	}
	if r, err = t.nntp("STARTTLS\r\n"); err != nil {
		return err
	}
	switch r.code {
	case "382":
		return nil
	case "580": // RFC 4642 §2.2.1: can not initiate TLS negotiation
		return says(ErrUnavailable, r.String())
	}
	return r.refusal(ErrNoStartTLS)
}

// nntp reads a response of one line (RFC 3977 §3.2).
func (t *talk) nntp(say string) (r reply, err error) {
	err = t.ask(say, func() error {
		s, err := t.line()
		if err != nil {
			return err
		}
		code, ok := replyCode(s)
		if !ok || len(s) > 3 && s[3] != ' ' {
			return fmt.Errorf("%w: %s is no response", ErrProtocol, quote(s))
		}
		r = reply{code, []string{s[min(len(s), 4):]}}
		return nil
	})
	return r, err
}

// block reads a multi-line block up to the line with a dot and looks for a
// keyword in it (RFC 3977 §3.1.1, RFC 1939 §3).
func (t *talk) block(keyword string) (found bool, err error) {
	err = t.ask("", func() error {
		return t.lines(func(s string) (bool, error) {
			first, _ := word(s)
			found = found || strings.EqualFold(first, keyword)
			return s == ".", nil
		})
	})
	return found, err
}
