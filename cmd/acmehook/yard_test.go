package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/dnsextra"
	"zonebuild/internal/acmeclient"
	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// yard is a directory of acmehook beside a name server that answers what is in the
// drop box, as if a builder had no work at all. What DNS does wrong is for others. Tests
// with one do not run in parallel: the library of the command line has one help flag.
type yard struct {
	t      *testing.T
	dir    string
	addr   string
	past   time.Duration // added to the clock
	limits acmeclient.Limits

	mu      sync.Mutex
	records []dns.RR    // beside the challenges
	asked   int         // for challenges that were there
	absent  string      // a name that does not exist; "": none
	hidden  bool        // challenges are not answered
	heard   chan<- bool // hears that one was asked for and hidden, if it has room
}

// server is a CA of package lab.
type server interface {
	Directory() string
	TrustFile() string
}

func newYard(t *testing.T) *yard {
	t.Helper()
	y := &yard{t: t, dir: t.TempDir()}
	y.limits = acmeclient.Limits{Pause: time.Millisecond, NoncePause: time.Microsecond, Poll: 5 * time.Millisecond, MaxPoll: 20 * time.Millisecond, Issue: 20 * time.Second}
	if err := os.Mkdir(filepath.Join(y.dir, "dnsextra"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			l.Close()
			continue
		}
		y.addr = l.Addr().String()
		for _, s := range []*dns.Server{{Listener: l, Handler: y}, {PacketConn: p, Handler: y}} {
			started := make(chan struct{})
			s.NotifyStartedFunc = func() { close(started) }
			go s.ActivateAndServe()
			<-started
			t.Cleanup(func() { s.Shutdown() })
		}
		return y
	}
	t.Fatal("no port that is free for TCP and UDP")
	return nil
}

// ServeDNS answers with authority for everything.
func (y *yard) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	name, typ := strings.ToLower(q.Question[0].Name), q.Question[0].Qtype
	header := dns.RR_Header{Name: q.Question[0].Name, Rrtype: typ, Class: dns.ClassINET, Ttl: 1}
	y.mu.Lock()
	for _, rr := range y.records {
		if t := rr.Header().Rrtype; rr.Header().Name == name && (t == typ || t == dns.TypeCNAME) {
			m.Answer = append(m.Answer, rr)
		}
	}
	y.mu.Unlock()
	if name == y.absent {
		absentSOA(m)
		w.WriteMsg(m)
		return
	}
	switch typ {
	case dns.TypeSOA:
		m.Answer = append(m.Answer, &dns.SOA{Hdr: header, Ns: "ns1." + name, Mbox: "host." + name, Serial: 1, Refresh: 1, Retry: 1, Expire: 1, Minttl: 1})
	case dns.TypeTXT:
		box := dnsextra.Writer{Dir: filepath.Join(y.dir, "dnsextra")}
		list, _, _ := box.List()
		for _, c := range list {
			if c.Owner.String() == name {
				m.Answer = append(m.Answer, &dns.TXT{Hdr: header, Txt: []string{c.Value}})
			}
		}
		y.mu.Lock()
		if len(m.Answer) > 0 {
			y.asked++
		}
		if y.hidden {
			if len(m.Answer) > 0 {
				select {
				case y.heard <- true:
				default:
				}
			}
			m.Answer = nil
		}
		y.mu.Unlock()
	}
	w.WriteMsg(m)
}

// record puts a record beside the challenges.
func (y *yard) record(text string) {
	y.t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		y.t.Fatal(err)
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	y.records = append(y.records, rr)
}

// pin publishes the TLSA record of what stands in a file.
func (y *yard) pin(owner, file string) {
	y.t.Helper()
	y.record(owner + " 1 IN TLSA 3 1 1 " + y.spki(file))
}

// spki is the digest of the key in a file.
func (y *yard) spki(file string) string {
	y.t.Helper()
	block, _ := pem.Decode([]byte(y.read(file)))
	if block == nil {
		y.t.Fatalf("%s holds no PEM", file)
	}
	der := block.Bytes
	if block.Type == "CERTIFICATE" {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			y.t.Fatal(err)
		}
		der = c.RawSubjectPublicKeyInfo
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// leaf is the live certificate of the line mail.
func (y *yard) leaf() *x509.Certificate {
	y.t.Helper()
	block, _ := pem.Decode([]byte(y.read("lines/mail/live/cert.pem")))
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		y.t.Fatal(err)
	}
	return c
}

func (y *yard) path(name string) string { return filepath.Join(y.dir, name) }

func (y *yard) read(name string) string {
	y.t.Helper()
	b, err := os.ReadFile(y.path(name))
	if err != nil {
		y.t.Fatal(err)
	}
	return string(b)
}

func (y *yard) write(name, text string) {
	y.t.Helper()
	if err := os.MkdirAll(filepath.Dir(y.path(name)), 0o755); err != nil {
		y.t.Fatal(err)
	}
	if err := os.WriteFile(y.path(name), []byte(text), 0o600); err != nil {
		y.t.Fatal(err)
	}
}

// general is what acmehook.toml begins with, and account a table of it.
func (y *yard) general() string {
	return fmt.Sprintf("servers = [%q]\nresolver = [\"127.0.0.1@9\"]\ndnssec = false\nttls = 1\nmargin = \"0s\"\ntimeout = \"20s\"\n", y.addr)
}

func account(ca server) string {
	return fmt.Sprintf("[account]\ndirectory = %q\nca-file = %q\nagree-terms = true\nmax-lifetime = \"2000d\"\n", ca.Directory(), ca.TrustFile())
}

// mail is a line that no service is pinned by.
const mail = "[line.mail]\nnames = [\"mail.example.org\", \"*.mail.example.org\"]\n"

// configure writes acmehook.toml: the general part, the account, and more tables.
func (y *yard) configure(ca server, more string) {
	y.t.Helper()
	y.write("acmehook.toml", y.general()+account(ca)+more)
}

// does runs a command and wants its exit status; it gives all that was said.
func (y *yard) does(code int, args ...string) string {
	y.t.Helper()
	var out, err bytes.Buffer
	p := &program{
		out: &out, err: &err, limits: y.limits,
		env:   os.Getenv,
		clock: func() time.Time { return time.Now().Add(y.past) },
	}
	if got := p.run(y.t.Context(), append([]string{"-C", y.dir}, args...)); got != code {
		y.t.Fatalf("%v: exit status %d, want %d\n%s%s", args, got, code, &out, &err)
	}
	return out.String() + err.String()
}

// says is does, with words that must be in what was said.
func (y *yard) says(code int, want string, args ...string) {
	y.t.Helper()
	if out := y.does(code, args...); !strings.Contains(out, want) {
		y.t.Fatalf("%v: %q is not in\n%s", args, want, out)
	}
}

// told is a part of what status says of the line mail.
type told struct {
	Generation int
	NotAfter   time.Time `json:"not_after"`
	Renewal    acmeclient.Renewal
	Key        struct{ ID string }
	NextKey    struct{ ID string } `json:"next_key"`
	Services   []struct {
		Serves  bool
		ByHand  bool `json:"by_hand"`
		Unasked bool
		Lag     string
	}
	Due   []string
	Waits []struct {
		At  time.Time
		Why string
	}
	Error string
	Alarm struct{ Code, Message string }
}

func (y *yard) status() told {
	y.t.Helper()
	var out bytes.Buffer
	p := &program{out: &out, err: io.Discard, env: os.Getenv, clock: func() time.Time { return time.Now().Add(y.past) }}
	code := p.run(y.t.Context(), []string{"-C", y.dir, "status", "mail", "--json"})
	var all struct{ Lines []told }
	if err := json.Unmarshal(out.Bytes(), &all); err != nil || len(all.Lines) != 1 {
		y.t.Fatalf("%v\n%s", err, &out)
	}
	if (code == cli.ExitNo) != (all.Lines[0].Alarm.Code != "") {
		y.t.Fatalf("exit status %d with the alarm %q", code, all.Lines[0].Alarm.Code)
	}
	return all.Lines[0]
}

// tree is everything in the directory: names, modes, links, and contents by digest.
func (y *yard) tree() map[string]string {
	y.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(y.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " " + to
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %x", sha256.Sum256(b))
		}
		name, err := filepath.Rel(y.dir, path)
		out[name] = text
		return err
	})
	if err != nil {
		y.t.Fatal(err)
	}
	return out
}

// ages gives a fake CA the clock of the yard.
func (y *yard) ages(ca *lab.FakeCA) {
	ca.Leaf = func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = c.NotBefore.Add(y.past), c.NotAfter.Add(y.past)
	}
}

// noChallenges wants the drop box to be empty.
func (y *yard) noChallenges() {
	y.t.Helper()
	left, err := filepath.Glob(y.path("dnsextra/_*"))
	if err != nil || len(left) > 0 {
		y.t.Errorf("left in the drop box: %v %v", left, err)
	}
}
