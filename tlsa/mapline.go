package tlsa

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"zonebuild/internal/diag"
	"zonebuild/internal/domain"
)

type mapParser struct {
	file   string
	m      Map
	faults diag.List
}

// word is a part of a line with its column, in octets from 1.
type word struct {
	text   string
	column int
}

func (p *mapParser) parse(src []byte) {
	number := 0
	for text := range strings.Lines(string(src)) {
		number++
		words, bad := split(strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"))
		if bad > 0 {
			p.faults.Errorf(diag.Pos{File: p.file, Line: number, Column: bad}, "certs-map-byte", "", "a byte that has no place here: 0x%02x", text[bad-1])
			p.m.Incomplete = true
			continue
		}
		if len(words) > 0 {
			l := &lineParser{p: p, number: number, words: words}
			l.parse()
		}
	}
}

// split cuts a line at white space; a comment is left out. bad is the column of
// a byte that is neither printable ASCII nor white space, outside of comments;
// 0 if there is none.
func split(text string) (words []word, bad int) {
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == ' ' || c == '\t':
			i++
			continue
		case c == '#':
			return words, 0
		}
		start := i
		for i < len(text) && text[i] != ' ' && text[i] != '\t' {
			if text[i] < ' ' || text[i] > '~' {
				return nil, i + 1
			}
			i++
		}
		words = append(words, word{text[start:i], start + 1})
	}
	return words, 0
}

type lineParser struct {
	p      *mapParser
	number int
	words  []word
	line   Line
	ports  []uint16
	lost   bool // which owners are meant is not known
}

func (l *lineParser) pos(w word) diag.Pos {
	return diag.Pos{File: l.p.file, Line: l.number, Column: w.column}
}

// errorf tells a fault after which the owner is still known.
func (l *lineParser) errorf(w word, code, format string, args ...any) {
	l.line.Broken = true
	owner := ""
	if !l.line.Host.IsZero() {
		owner = l.line.Host.String()
	}
	l.p.faults.Errorf(l.pos(w), code, owner, format, args...)
}

func (l *lineParser) parse() {
	l.line = Line{Pos: l.pos(l.words[0]), Kind: DefaultKind, TTL: DefaultTTL}
	if len(l.words) < 3 {
		l.errorf(l.words[0], "certs-map-fields", "not of the form CERTFILE HOST PORT …: %d fields", len(l.words))
		l.p.m.Incomplete = true
		return
	}
	l.line.CertFile = l.path(l.words[0])
	l.host(l.words[1])
	l.portList(l.words[2])
	rest := l.kind(l.words[3:])
	l.options(rest)
	if l.lost {
		l.p.m.Incomplete = true
		return
	}
	for _, port := range l.ports {
		line := l.line
		line.Port = port
		owner, err := line.Service.Owner()
		if err != nil {
			l.errorf(l.words[1], "certs-map-host", "no owner of a TLSA record: %s", err)
			return // no zone can hold it
		}
		line.Owner = owner
		l.p.m.Lines = append(l.p.m.Lines, line)
	}
}

func (l *lineParser) path(w word) string {
	if !isClean(w.text) {
		l.errorf(w, "certs-map-file", "%q is no path below the directory of certificates", shorten(w.text))
		return ""
	}
	return w.text
}

func (l *lineParser) host(w word) {
	host, err := parseHost(w.text)
	if err != nil {
		l.errorf(w, "certs-map-host", "no host name: %s", err)
		l.lost = true
		return
	}
	l.line.Host = host
}

// parseHost reads a name that a service can have: letters, digits, hyphens,
// and underscores inside (some hosts have them).
func parseHost(s string) (domain.Name, error) {
	n, err := domain.Parse(s)
	switch {
	case err != nil:
		return domain.Name{}, err
	case n == domain.Root:
		return domain.Name{}, errors.New("the root")
	case strings.HasPrefix(s, "_"):
		return domain.Name{}, fmt.Errorf("%q: it begins with an underscore; the map names the host, not the owner of the record", shorten(s))
	case strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "":
		return domain.Name{}, fmt.Errorf("%q: only letters, digits, - and _", shorten(s))
	}
	return n, nil
}

func (l *lineParser) portList(w word) {
	list, proto, has := strings.Cut(w.text, "/")
	if !has {
		proto = "tcp"
	}
	if l.line.Proto = strings.ToLower(proto); !slices.Contains([]string{"tcp", "udp", "sctp"}, l.line.Proto) {
		l.errorf(w, "certs-map-port", "%q is neither tcp, udp nor sctp", shorten(proto))
		l.lost = true
		return
	}
	for s := range strings.SplitSeq(list, ",") {
		v, err := strconv.ParseUint(s, 10, 16)
		switch {
		case err != nil || v == 0 || s[0] == '+':
			l.errorf(w, "certs-map-port", "%q is no port from 1 to 65535", shorten(s))
			l.lost = true
			return
		case slices.Contains(l.ports, uint16(v)):
			l.p.faults.Warnf(l.pos(w), "certs-map-duplicate", l.line.Host.String(), "port %d stands twice", v)
			continue
		case len(l.ports) == maxPorts:
			l.errorf(w, "certs-map-port", "more than %d ports", maxPorts)
			l.lost = true
			return
		}
		l.ports = append(l.ports, uint16(v))
	}
}

// kind reads U S M, if they are there, and gives the words behind them.
func (l *lineParser) kind(words []word) []word {
	n := 0
	for n < len(words) && !strings.Contains(words[n].text, "=") {
		n++
	}
	if n == 0 {
		return words
	}
	if n != 3 {
		l.errorf(words[0], "certs-map-params", "usage, selector and matching type are three words, not %d", n)
		return words[n:]
	}
	k, err := ParseKind(words[0].text, words[1].text, words[2].text)
	if err != nil {
		l.errorf(words[0], "certs-map-params", "%s", err)
		return words[n:]
	}
	l.line.Kind = k
	return words[n:]
}

// ParseKind reads usage, selector and matching type as numbers or by their
// names in RFC 7218, in any case; sha256 and sha512 are those of ldns-dane.
func ParseKind(usage, selector, matching string) (Kind, error) {
	u, ok := number(usage, "pkix-ta", "pkix-ee", "dane-ta", "dane-ee")
	if !ok {
		return Kind{}, fmt.Errorf("%q is no certificate usage: 0 to 3", shorten(usage))
	}
	s, ok := number(selector, "cert", "spki")
	if !ok {
		return Kind{}, fmt.Errorf("%q is no selector: 0 or 1", shorten(selector))
	}
	m, ok := number(matching, "full", "sha2-256", "sha2-512")
	if !ok {
		m, ok = number(strings.ReplaceAll(strings.ToLower(matching), "sha-", "sha"), "full", "sha256", "sha512")
	}
	if !ok {
		return Kind{}, fmt.Errorf("%q is no matching type: 0, 1 or 2", shorten(matching))
	}
	return Kind{u, s, m}, nil
}

func number(s string, names ...string) (uint8, bool) {
	for i, name := range names {
		if s == strconv.Itoa(i) || strings.EqualFold(s, name) {
			return uint8(i), true
		}
	}
	return 0, false
}

func (l *lineParser) options(words []word) {
	seen := map[string]bool{}
	for _, w := range words {
		key, value, has := strings.Cut(w.text, "=")
		switch {
		case !has:
			l.errorf(w, "certs-map-option", "%q is no option such as ttl=1h", shorten(w.text))
			continue
		case seen[key]:
			l.errorf(w, "certs-map-option", "%s= stands twice", shorten(key))
			continue
		}
		seen[key] = true
		at := word{value, w.column + len(key) + 1}
		switch key {
		case "next":
			l.line.Next = l.path(at)
		case "ttl":
			l.ttl(at)
		case "probe":
			l.probe(at)
		case "starttls":
			l.startTLS(at)
		case "sni":
			sni, err := parseHost(value)
			if err != nil {
				l.errorf(at, "certs-map-option", "sni: no host name: %s", err)
				continue
			}
			l.line.SNI = sni
		default:
			l.errorf(w, "certs-map-option", "unknown option %q: next, ttl, probe, starttls and sni are known", shorten(key))
		}
	}
	if l.line.Next != "" && l.line.Next == l.line.CertFile {
		l.errorf(l.words[0], "certs-map-option", "next= names the file of the line itself")
	}
}

func (l *lineParser) ttl(w word) {
	ttl, ok := parseSeconds(w.text)
	if !ok {
		l.errorf(w, "certs-map-ttl", `ttl: %q is no duration such as "1h30m" or 3600`, shorten(w.text))
		return
	}
	if ttl < MinTTL || ttl > MaxTTL {
		l.errorf(w, "certs-map-ttl", "ttl: %d s: from %d to %d", ttl, MinTTL, MaxTTL)
		return
	}
	l.line.TTL = uint32(ttl)
}

// parseSeconds reads seconds, or whole numbers with the units w d h m s, the
// largest first.
func parseSeconds(s string) (uint64, bool) {
	if s != "" && strings.Trim(s, "0123456789") == "" {
		v, err := strconv.ParseUint(s, 10, 32)
		return v, err == nil
	}
	units := []struct {
		letter string
		size   uint64
	}{{"w", 604800}, {"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}
	total, rest := uint64(0), s
	for _, u := range units {
		digits, behind, has := strings.Cut(rest, u.letter)
		if !has {
			continue
		}
		v, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || strings.HasPrefix(digits, "+") {
			return 0, false
		}
		total, rest = total+v*u.size, behind
	}
	return total, s != "" && rest == "" && total <= math.MaxUint32
}

func (l *lineParser) probe(w word) {
	if w.text == "off" {
		l.line.ProbeOff = true
		return
	}
	if addr, err := netip.ParseAddr(w.text); err == nil && addr.Zone() == "" {
		l.line.Probe = netip.AddrPortFrom(addr.Unmap(), 0)
		return
	}
	addr, err := netip.ParseAddrPort(w.text)
	if err != nil || addr.Addr().Zone() != "" || addr.Port() == 0 {
		l.errorf(w, "certs-map-option", "probe: %q is neither off nor an address such as 192.0.2.1, 192.0.2.1:25 or [2001:db8::1]:25", shorten(w.text))
		return
	}
	l.line.Probe = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// startTLSNames are the protocols that internal/starttls speaks.
var startTLSNames = []string{
	"off", "smtp", "imap", "pop3", "xmpp-client", "xmpp-server", "ldap", "ftp", "sieve", "postgres", "nntp", "lmtp",
}

func (l *lineParser) startTLS(w word) {
	if !slices.Contains(startTLSNames, w.text) {
		l.errorf(w, "certs-map-option", "starttls: %q is none of %s", shorten(w.text), strings.Join(startTLSNames, ", "))
		return
	}
	l.line.StartTLS = w.text
}

// shorten keeps messages readable whatever the file holds.
func shorten(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
