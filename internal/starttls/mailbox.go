package starttls

import (
	"fmt"
	"strconv"
	"strings"
)

// Dialogues of words: IMAP, POP3, ManageSieve.

// startIMAP is RFC 9051 §6.2.1.
func startIMAP(t *talk) error {
	err := t.ask("", func() error {
		s, err := t.line()
		if err != nil {
			return err
		}
		star, rest := word(s)
		status, _ := word(rest)
		switch {
		case star != "*":
		case strings.EqualFold(status, "OK"):
			return nil
		case strings.EqualFold(status, "BYE"):
			return says(ErrUnavailable, s)
		case strings.EqualFold(status, "PREAUTH"): // §7.1.4: too late for STARTTLS
			return says(ErrNoStartTLS, s)
		}
		return fmt.Errorf("%w: %s is no greeting", ErrProtocol, quote(s))
	})
	if err != nil {
		return err
	}
	offered := false
	err = t.imap("a", "CAPABILITY", func(kind, rest string) {
		if !strings.EqualFold(kind, "CAPABILITY") {
			return
		}
		for _, f := range strings.Fields(rest) {
			offered = offered || strings.EqualFold(f, "STARTTLS")
		}
	})
	if err != nil {
		return err
	}
	if !offered {
		return fmt.Errorf("%w: it is not among the server's capabilities", ErrNoStartTLS)
	}
	return t.imap("b", "STARTTLS", func(string, string) {})
}

// imap gives a command and reads until its tag comes back with OK. Untagged
// responses are given to untagged.
func (t *talk) imap(tag, command string, untagged func(kind, rest string)) error {
	return t.ask(tag+" "+command+"\r\n", func() error {
		return t.lines(func(s string) (bool, error) {
			first, rest := word(s)
			status, text := word(rest)
			switch {
			case first == "*" && strings.EqualFold(status, "BYE"):
				return false, says(ErrUnavailable, s)
			case first == "*":
				untagged(status, text)
				return false, nil
			case first != tag:
			case strings.EqualFold(status, "OK"):
				return true, nil
			case strings.EqualFold(status, "NO"), strings.EqualFold(status, "BAD"):
				return false, says(ErrNoStartTLS, s)
			}
			return false, fmt.Errorf("%w: %s is no response", ErrProtocol, quote(s))
		})
	})
}

// startPOP3 is RFC 2595 §4. A server older than CAPA (RFC 2449) refuses that;
// STLS itself tells.
func startPOP3(t *talk) error {
	if ok, said, err := t.pop3(""); err != nil {
		return err
	} else if !ok {
		return says(ErrUnavailable, said)
	}
	ok, _, err := t.pop3("CAPA\r\n")
	if err != nil {
		return err
	}
	if ok {
		if offered, err := t.block("STLS"); err != nil {
			return err
		} else if !offered {
			return fmt.Errorf("%w: STLS is not among the server's capabilities", ErrNoStartTLS)
		}
	}
	if ok, said, err := t.pop3("STLS\r\n"); err != nil {
		return err
	} else if !ok {
		return says(ErrNoStartTLS, said)
	}
	return nil
}

func (t *talk) pop3(say string) (ok bool, said string, err error) {
	err = t.ask(say, func() error {
		if said, err = t.line(); err != nil {
			return err
		}
		switch status, _ := word(said); {
		case strings.EqualFold(status, "+OK"):
			ok = true
		case !strings.EqualFold(status, "-ERR"):
			return fmt.Errorf("%w: %s is no response", ErrProtocol, quote(said))
		}
		return nil
	})
	return ok, said, err
}

// startSieve is RFC 5804 §2.2: the greeting is the list of capabilities.
func startSieve(t *talk) error {
	offered := false
	err := t.sieve("", ErrUnavailable, func(s string) {
		name, _ := word(s)
		offered = offered || strings.EqualFold(name, `"STARTTLS"`)
	})
	if err != nil {
		return err
	}
	if !offered {
		return fmt.Errorf("%w: it is not among the server's capabilities", ErrNoStartTLS)
	}
	return t.sieve("STARTTLS\r\n", ErrNoStartTLS, func(string) {})
}

// sieve reads until OK. A line that ends in {N} goes on after N octets
// (RFC 5804 §4): those are lines to nobody.
func (t *talk) sieve(say string, refused error, capability func(string)) error {
	return t.ask(say, func() error {
		inside, done := false, false // after a literal; after OK
		return t.lines(func(s string) (bool, error) {
			status, _ := word(s)
			status, _, _ = strings.Cut(status, "(") // a response code may follow at once
			switch {
			case inside:
			case strings.EqualFold(status, "OK"):
				done = true
			case strings.EqualFold(status, "NO"):
				return false, says(refused, s)
			case strings.EqualFold(status, "BYE"):
				return false, says(ErrUnavailable, s)
			case strings.HasPrefix(s, `"`), strings.HasPrefix(s, "{"):
				capability(s)
			default:
				return false, fmt.Errorf("%w: %s is no capability", ErrProtocol, quote(s))
			}
			var err error
			inside, err = t.skipLiteral(s)
			return done && !inside, err
		})
	})
}

// skipLiteral passes over the octets that a line announces at its end, and says
// whether it did.
func (t *talk) skipLiteral(s string) (bool, error) {
	open := strings.LastIndexByte(s, '{')
	if open < 0 || !strings.HasSuffix(s, "}") {
		return false, nil
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(s[open+1:len(s)-1], "+"), 10, 31)
	if err != nil {
		return false, nil // text like any other
	}
	if n > maxDialogue {
		return false, errTooMuch
	}
	_, err = t.in.Discard(int(n))
	return true, err
}
