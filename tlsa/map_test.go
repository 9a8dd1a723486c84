package tlsa

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"zonebuild/internal/diag"
)

func show(m Map, faults fmt.Stringer) string {
	var b strings.Builder
	for _, l := range m.Lines {
		fmt.Fprintf(&b, "%s %s %s %s %d", l.Pos, l.Owner, l.CertFile, l.Kind, l.TTL)
		if l.Next != "" {
			b.WriteString(" next " + l.Next)
		}
		if l.Probe.IsValid() {
			fmt.Fprintf(&b, " probe %s port %d", l.Probe.Addr(), l.Probe.Port())
		}
		if l.ProbeOff {
			b.WriteString(" probe off")
		}
		if l.StartTLS != "" {
			b.WriteString(" starttls " + l.StartTLS)
		}
		if !l.SNI.IsZero() {
			b.WriteString(" sni " + l.SNI.String())
		}
		if l.Broken {
			b.WriteString(" broken")
		}
		b.WriteString("\n")
	}
	if m.Incomplete {
		b.WriteString("incomplete\n")
	}
	b.WriteString(faults.String())
	return b.String()
}

type lines []string

func (l lines) String() string { return strings.Join(l, "\n") }

func parsed(src string) string {
	m, faults := ParseMap("certs.map", []byte(src))
	var l lines
	for _, d := range faults {
		l = append(l, d.String())
	}
	return show(m, l)
}

func TestParseMap(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"empty", "", ""},
		{"comments", "# a\n\n  # b\n\t\n", ""},
		{"simple", "live/mail/cert.pem mail.example.org 25\n", "certs.map:1:1 _25._tcp.mail.example.org. live/mail/cert.pem 3 1 1 3600\n"},
		{"no final newline, CR LF", "c h.example. 25 # x\r\nd h.example 443", "certs.map:1:1 _25._tcp.h.example. c 3 1 1 3600\ncerts.map:2:1 _443._tcp.h.example. d 3 1 1 3600\n"},
		{"all", "\tc Mail.Example.org 25,587/TCP 2 0 2 next=n.pem ttl=1h30m probe=192.0.2.1 starttls=smtp sni=mx.example.org # end\n",
			"certs.map:1:2 _25._tcp.mail.example.org. c 2 0 2 5400 next n.pem probe 192.0.2.1 port 0 starttls smtp sni mx.example.org.\n" +
				"certs.map:1:2 _587._tcp.mail.example.org. c 2 0 2 5400 next n.pem probe 192.0.2.1 port 0 starttls smtp sni mx.example.org.\n"},
		{"names of RFC 7218", "c h.example 853/udp dane-ee SPKI SHA2-512 probe=[2001:db8::1]:8853\n", "certs.map:1:1 _853._udp.h.example. c 3 1 2 3600 probe 2001:db8::1 port 8853\n"},
		{"union", "rsa.pem h.example 25\nec.pem h.example 25 probe=off\n", "certs.map:1:1 _25._tcp.h.example. rsa.pem 3 1 1 3600\ncerts.map:2:1 _25._tcp.h.example. ec.pem 3 1 1 3600 probe off\n" +
			"certs.map:2:1: warning: _25._tcp.h.example.: probe=, starttls= or sni= differ for one service: those of the first line are taken [certs-map-conflict] (the first line at certs.map:1:1)"},
		{"two kinds of one file", "c h.example 25\nc h.example 25 2 1 1\n", "certs.map:1:1 _25._tcp.h.example. c 3 1 1 3600\ncerts.map:2:1 _25._tcp.h.example. c 2 1 1 3600\n"},
		{"twice", "c h.example 25\nc H.example. 25/tcp\n", "certs.map:1:1 _25._tcp.h.example. c 3 1 1 3600\n" +
			"certs.map:2:1: warning: _25._tcp.h.example.: c stands twice for this service [certs-map-duplicate] (the other at certs.map:1:1)"},
		{"port twice", "c h.example 25,25\n", "certs.map:1:1 _25._tcp.h.example. c 3 1 1 3600\n" +
			"certs.map:1:13: warning: h.example.: port 25 stands twice [certs-map-duplicate]"},
		{"TTLs", "a h.example 25 ttl=300\nb h.example 25\n", "certs.map:1:1 _25._tcp.h.example. a 3 1 1 300\ncerts.map:2:1 _25._tcp.h.example. b 3 1 1 3600\n" +
			"certs.map:2:1: warning: _25._tcp.h.example.: ttl of 3600 s and of 300 s for one RRset: the lower one is taken [certs-map-conflict] (the other at certs.map:1:1)"},
		{"fields", "c h.example\nd\n", "incomplete\ncerts.map:1:1: not of the form CERTFILE HOST PORT …: 2 fields [certs-map-fields]\n" +
			"certs.map:2:1: not of the form CERTFILE HOST PORT …: 1 fields [certs-map-fields]"},
		{"byte", "c h.ex\x07mple 25\n", "incomplete\ncerts.map:1:7: a byte that has no place here: 0x07 [certs-map-byte]"},
		{"U-label", "c bücher.example 25\n", "incomplete\ncerts.map:1:4: a byte that has no place here: 0xc3 [certs-map-byte]"},
		{"U-label in a comment", "c h.example 25 # bücher\n", "certs.map:1:1 _25._tcp.h.example. c 3 1 1 3600\n"},
		{"paths", "/etc/x h.example 1\n../x h.example 2\na/../b h.example 3\na//b h.example 4\n./a h.example 5\na\\b h.example 6\n",
			func() string {
				var s lines
				for i := range 6 {
					s = append(s, fmt.Sprintf("certs.map:%d:1 _%d._tcp.h.example.  3 1 1 3600 broken", i+1, i+1))
				}
				for i, p := range []string{"/etc/x", "../x", "a/../b", "a//b", "./a", `a\\b`} {
					s = append(s, fmt.Sprintf(`certs.map:%d:1: "%s" is no path below the directory of certificates [certs-map-file]`, i+1, p))
				}
				return s.String()
			}()},
		{"hosts", "c . 25\nc _25._tcp.h.example 25\nc *.example 25\nc h..x 25\nc a\\.b.example 25\nc under_score.example 25\n",
			"certs.map:6:1 _25._tcp.under_score.example. c 3 1 1 3600\nincomplete\ncerts.map:1:3: no host name: the root [certs-map-host]\n" +
				`certs.map:2:3: no host name: "_25._tcp.h.example": it begins with an underscore; the map names the host, not the owner of the record [certs-map-host]` + "\n" +
				`certs.map:3:3: no host name: "*.example": only letters, digits, - and _ [certs-map-host]` + "\n" +
				`certs.map:4:3: no host name: "h..x": empty label [certs-map-host]` + "\n" +
				`certs.map:5:3: no host name: "a\\.b.example": only letters, digits, - and _ [certs-map-host]`},
		{"ports", "c h.example 0\nc h.example 65536\nc h.example 25,\nc h.example smtp\nc h.example +25\nc h.example 25/quic\n", "incomplete\n" +
			"certs.map:1:13: h.example.: \"0\" is no port from 1 to 65535 [certs-map-port]\n" +
			"certs.map:2:13: h.example.: \"65536\" is no port from 1 to 65535 [certs-map-port]\n" +
			"certs.map:3:13: h.example.: \"\" is no port from 1 to 65535 [certs-map-port]\n" +
			"certs.map:4:13: h.example.: \"smtp\" is no port from 1 to 65535 [certs-map-port]\n" +
			"certs.map:5:13: h.example.: \"+25\" is no port from 1 to 65535 [certs-map-port]\n" +
			"certs.map:6:13: h.example.: \"quic\" is neither tcp, udp nor sctp [certs-map-port]"},
		{"kinds", "c h.example 1 3 1\nc h.example 2 4 1 1\nc h.example 3 3 2 1\nc h.example 4 3 1 3\n",
			"certs.map:1:1 _1._tcp.h.example. c 3 1 1 3600 broken\ncerts.map:2:1 _2._tcp.h.example. c 3 1 1 3600 broken\n" +
				"certs.map:3:1 _3._tcp.h.example. c 3 1 1 3600 broken\ncerts.map:4:1 _4._tcp.h.example. c 3 1 1 3600 broken\n" +
				"certs.map:1:15: h.example.: usage, selector and matching type are three words, not 2 [certs-map-params]\n" +
				"certs.map:2:15: h.example.: \"4\" is no certificate usage: 0 to 3 [certs-map-params]\n" +
				"certs.map:3:15: h.example.: \"2\" is no selector: 0 or 1 [certs-map-params]\n" +
				"certs.map:4:15: h.example.: \"3\" is no matching type: 0, 1 or 2 [certs-map-params]"},
		{"options", "c h.example 1 tll=1h\nc h.example 2 ttl=1h ttl=2h\nc h.example 3 ttl=59\nc h.example 4 ttl=1x\nc h.example 5 ttl=\nc h.example 6 probe=mail\n" +
			"c h.example 7 starttls=tls\nc h.example 8 next=/x\nc h.example 9 sni=*.x\nc h.example 10 next=c\nc h.example 11 ttl=1d next\nc h.example 12 probe=[fe80::1%25x]:1\n",
			func() string {
				var s lines
				ttl := []int{3600, 3600, 3600, 3600, 3600, 3600, 3600, 3600, 3600, 3600, 86400, 3600}
				for i := range 12 {
					next := ""
					if i == 9 {
						next = " next c"
					}
					s = append(s, fmt.Sprintf("certs.map:%d:1 _%d._tcp.h.example. c 3 1 1 %d%s broken", i+1, i+1, ttl[i], next))
				}
				return s.String()
			}() + `
certs.map:1:15: h.example.: unknown option "tll": next, ttl, probe, starttls and sni are known [certs-map-option]
certs.map:2:22: h.example.: ttl= stands twice [certs-map-option]
certs.map:3:19: h.example.: ttl: 59 s: from 60 to 86400 [certs-map-ttl]
certs.map:4:19: h.example.: ttl: "1x" is no duration such as "1h30m" or 3600 [certs-map-ttl]
certs.map:5:19: h.example.: ttl: "" is no duration such as "1h30m" or 3600 [certs-map-ttl]
certs.map:6:21: h.example.: probe: "mail" is neither off nor an address such as 192.0.2.1, 192.0.2.1:25 or [2001:db8::1]:25 [certs-map-option]
certs.map:7:24: h.example.: starttls: "tls" is none of off, smtp, imap, pop3, xmpp-client, xmpp-server, ldap, ftp, sieve, postgres, nntp, lmtp [certs-map-option]
certs.map:8:20: h.example.: "/x" is no path below the directory of certificates [certs-map-file]
certs.map:9:19: h.example.: sni: no host name: "*.x": only letters, digits, - and _ [certs-map-option]
certs.map:10:1: h.example.: next= names the file of the line itself [certs-map-option]
certs.map:11:23: h.example.: "next" is no option such as ttl=1h [certs-map-option]
certs.map:12:22: h.example.: probe: "[fe80::1%25x]:1" is neither off nor an address such as 192.0.2.1, 192.0.2.1:25 or [2001:db8::1]:25 [certs-map-option]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := parsed(c.src)
			// Broken lines come sorted by owner; the table lists them by line.
			if sorted(got) != sorted(c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func sorted(s string) string {
	l := strings.Split(strings.TrimSpace(s), "\n")
	head := map[bool]lines{}
	for _, x := range l {
		fault := strings.Contains(x, " [")
		head[fault] = append(head[fault], x)
	}
	insertion := head[false]
	for i := range insertion {
		for j := i; j > 0 && insertion[j] < insertion[j-1]; j-- {
			insertion[j], insertion[j-1] = insertion[j-1], insertion[j]
		}
	}
	return insertion.String() + "\n" + head[true].String()
}

func TestGroups(t *testing.T) {
	m, faults := ParseMap("m", []byte("a z.example 25\nb a.example 443,25 ttl=600\nc z.example 25 ttl=300\n"))
	var got lines
	for _, g := range m.Groups() {
		var files lines
		for _, l := range g.Lines {
			files = append(files, l.CertFile)
		}
		got = append(got, fmt.Sprintf("%s %s %s %d", g.Owner, g.Service, strings.Join(files, "+"), g.TTL()))
	}
	want := "_25._tcp.a.example. a.example. 25/tcp b 600\n_443._tcp.a.example. a.example. 443/tcp b 600\n_25._tcp.z.example. z.example. 25/tcp a+c 300"
	if got.String() != want || len(faults) != 1 {
		t.Errorf("got\n%s\n%v", got, faults)
	}
}

// FuzzParseMap: no map crashes the parser; each fault has a place in the file,
// an error leaves its mark on the map, and what is accepted is within bounds.
func FuzzParseMap(f *testing.F) {
	f.Add([]byte("c h.example 25,443/tcp 3 1 1 next=n ttl=1h probe=off starttls=smtp sni=x.example # c\n"))
	f.Add([]byte("c h.example 25\nc h.example 25 ttl=60 probe=[::1]:25\n\r\n/ .. 0\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		m, faults := ParseMap("m", src)
		last := strings.Count(string(src), "\n") + 1
		for _, d := range faults {
			if d.Pos.File != "m" || d.Pos.Line < 1 || d.Pos.Line > last || d.Pos.Column < 1 || strings.ContainsFunc(d.Message, func(r rune) bool { return r < ' ' }) {
				t.Errorf("%q: fault %q", src, d)
			}
		}
		marked := m.Incomplete
		for _, l := range m.Lines {
			marked = marked || l.Broken
			if !l.Broken && (!isClean(l.CertFile) || l.TTL < MinTTL || l.TTL > MaxTTL || l.Port == 0 || !l.Kind.known() || !l.Owner.IsBelow(l.Host)) {
				t.Errorf("%q: accepted %+v", src, l)
			}
		}
		tooLong := slices.ContainsFunc(faults, func(d diag.Diagnostic) bool { return strings.HasPrefix(d.Message, "no owner") })
		if faults.HasErrors() && !marked && !tooLong {
			t.Errorf("%q: an error and no mark: %v", src, faults)
		}
	})
}
