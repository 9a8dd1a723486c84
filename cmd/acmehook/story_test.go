package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"zonebuild/internal/cli"
	"zonebuild/internal/lab"
)

// town is everything around a certificate line: a data tree with its builder, a name
// server that serves the signed zone, Pebble that asks it, and a mail server whose
// clients heed TLSA records. One clock, that of the yard, is everybody's.
type town struct {
	*yard
	tree    string
	builder string // the program zonebuild
	nsd     *lab.NSDServer
	ca      *lab.CA
	server  *lab.TLS  // the mail server
	direct  *lab.TLS  // its port with TLS from the first octet
	seen    []version // what nsd served, the newest last
	loaded  string    // what nsd has read
	serving string    // generation that the mail server has loaded
}

// version is a TLSA RRset and when it was first seen.
type version struct {
	at   time.Time
	keys []string
}

const (
	townTTL   = time.Hour // of TLSA records, as certs.map has it without word
	mailOwner = "_25._tcp.mail.example.org."
)

func newTown(t *testing.T, start func(testing.TB, string) *lab.CA) *town {
	t.Helper()
	lab.Need(t, "nsd")
	w := &town{yard: newYard(t), tree: t.TempDir()}
	w.builder = filepath.Join(w.tree, "zonebuild")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", w.builder, "../zonebuild").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Mkdir(filepath.Join(w.tree, "signed"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.nsd = lab.NSD(t, lab.NSDOptions{Dir: filepath.Join(w.tree, "signed"), Zones: []string{"example.org"}})
	w.ca = start(t, w.nsd.Addr())
	w.server = lab.TLSServer(t, lab.TLSOptions{Speak: "smtp", Certs: map[string][]tls.Certificate{}})
	w.direct = lab.TLSServer(t, lab.TLSOptions{Certs: map[string][]tls.Certificate{}})
	w.plant("soa/example.org", "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 4w 1m\n@ NS ns1\n")
	w.plant("primary/example.org", "ns1 A 127.0.0.1\nmail A 127.0.0.1\n@ MX 10 mail\n")
	w.plant("certs.map", "mail/live/cert.pem mail.example.org 25 next=mail/next/pubkey.pem probe="+w.server.Addr()+"\n")
	w.plant("zonebuild.toml", fmt.Sprintf(`resolver = ["127.0.0.1@9"]
[source.certs]
path = %q
[source.dnsextra]
path = %q
[publish]
server = "none"
confirm = [%q]
timeout = "20s"
[tlsa]
observe = "clock"
propagate = "1m"
`, w.path("lines"), w.path("dnsextra"), w.nsd.Addr()))
	if err := os.Mkdir(w.path("lines"), 0o755); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, w.builder, "-C", w.tree, "keygen", "example.org")
	w.build()
	anchors := ""
	for line := range strings.Lines(w.signed()) {
		if strings.Contains(line, "\tDNSKEY\t257 ") {
			anchors += line
		}
	}
	w.write("anchors", anchors)
	w.write("acmehook.toml", fmt.Sprintf("servers = [%q]\nresolver = [%[1]q]\nanchors = \"anchors\"\ntimeout = \"30s\"\n", w.nsd.Addr())+account(w.ca)+fmt.Sprintf(`
[line.mail]
names = ["mail.example.org"]
services = ["smtp"]
deploy = [["sh", "-c", "test ! -e broken && echo $ACMEHOOK_GENERATION >>told"]]
[service.smtp]
host = "mail.example.org"
port = 25
probe = [%q]
`, w.server.Addr()))
	return w
}

func (w *town) plant(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.tree, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *town) signed() string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.tree, "signed/example.org"))
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	return string(b)
}

func (w *town) now() time.Time { return time.Now().Add(w.past) }

// build lets the builder do what is due, and looks at what is served then.
func (w *town) build() {
	w.t.Helper()
	cmd := exec.Command(w.builder, "-C", w.tree, "--now", w.now().UTC().Format(time.RFC3339), "build", "--new-zone")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for running := true; running; { // with a clock of its own it may not tell nsd itself
		select {
		case err := <-ended:
			if err != nil {
				w.t.Fatalf("build: %v\n%s", err, &out)
			}
			running = false
		case <-time.After(5 * time.Millisecond):
		}
		w.reload()
	}
	keys := w.served()
	if n := len(w.seen); n == 0 || !slices.Equal(keys, w.seen[n-1].keys) {
		w.seen = append(w.seen, version{w.now(), keys})
	}
}

// reload tells nsd of a zone file that it has not read yet.
func (w *town) reload() {
	w.t.Helper()
	text := w.signed()
	if text == w.loaded {
		return
	}
	c, err := net.Dial("unix", w.nsd.Control())
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "NSDCT1 reload example.org\n")
	if said, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(said), "ok") {
		w.t.Fatalf("reload: %s %v", said, err)
	}
	w.loaded = text
}

// served are the keys that nsd has TLSA records for.
func (w *town) served() (keys []string) {
	w.t.Helper()
	for _, rr := range lab.Query(w.t, w.nsd.Addr(), mailOwner, "TLSA", 0).Answer {
		if r, ok := rr.(*dns.TLSA); ok {
			if r.Usage != 3 || r.Selector != 1 || r.MatchingType != 1 {
				w.t.Fatalf("%s", r)
			}
			keys = append(keys, r.Certificate)
		}
	}
	slices.Sort(keys)
	return keys
}

// safe wants the mail server's certificate to be valid and to match the records that
// the worst cache holds: any RRset that was served within the last TTL. No records are
// no DANE.
func (w *town) safe() {
	w.t.Helper()
	if why := w.unsafe(); why != "" {
		w.t.Fatalf("after %s: %s", w.past, why)
	}
}

func (w *town) unsafe() string {
	w.t.Helper()
	if w.serving == "" {
		return ""
	}
	c, err := tls.Dial("tcp", w.direct.Addr(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	leaf := c.ConnectionState().PeerCertificates[0]
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	key := hex.EncodeToString(sum[:])
	if !w.now().Before(leaf.NotAfter) {
		return "the served certificate has expired"
	}
	for i, v := range w.seen {
		last := i+1 == len(w.seen)
		if !last && w.now().Sub(w.seen[i+1].at) >= townTTL || len(v.keys) == 0 {
			continue
		}
		if !slices.Contains(v.keys, key) {
			return fmt.Sprintf("the key %s is served, and a cache may hold %v", key, v.keys)
		}
	}
	return ""
}

// load lets the mail server read its files, as a reload does.
func (w *town) load() {
	w.t.Helper()
	c, err := tls.LoadX509KeyPair(w.path("lines/mail/live/fullchain.pem"), w.path("lines/mail/live/privkey.pem"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.server.Show("", c)
	w.direct.Show("", c)
	w.serving, _ = os.Readlink(w.path("lines/mail/live"))
}

// busy runs acmehook while the builder works.
func (w *town) busy(code int, args ...string) string {
	w.t.Helper()
	var out bytes.Buffer
	ended := make(chan int, 1)
	p := &program{out: &out, err: &out, limits: w.limits, env: os.Getenv, clock: w.now}
	go func() { ended <- p.run(w.t.Context(), append([]string{"-C", w.dir}, args...)) }()
	for {
		select {
		case got := <-ended:
			if got != code {
				w.t.Fatalf("%v: exit status %d, want %d\n%s\nPebble:\n%s", args, got, code, &out, w.ca.Log())
			}
			w.build()
			w.safe()
			return out.String()
		case <-time.After(20 * time.Millisecond):
			w.build()
		}
	}
}

// pass lets time go by in steps of ten minutes, as two cron jobs have it.
func (w *town) pass(d time.Duration) {
	w.t.Helper()
	for end := w.past + d; w.past < end; {
		w.past = min(w.past+10*time.Minute, end)
		w.build()
		w.busy(cli.ExitOK, "run")
	}
}

// TestKeyChange is the whole story of a key, with the defaults of both programs: next
// key, its TLSA by way of certs.map, zonebuild and nsd, the wait of acmehook's own,
// the certificate, the hook, a mail server that is asked over STARTTLS, the end of the
// old key. At no instant does the worst cache hold records that the server's key does
// not match.
func TestKeyChange(t *testing.T) {
	for name, start := range map[string]func(testing.TB, string) *lab.CA{"Pebble 2.10": lab.NewPebble, "Pebble 2.4": lab.Pebble} {
		t.Run(name, func(t *testing.T) { keyChange(t, newTown(t, start)) })
	}
}

func keyChange(t *testing.T, w *town) {
	w.does(cli.ExitOK, "init")
	w.busy(cli.ExitOK, "issue", "mail") // there are no records: nothing to break
	first := w.spki("lines/mail/live/cert.pem")
	w.load()
	w.pass(30 * time.Minute)
	next := w.spki("lines/mail/next/pubkey.pem")
	if got := w.served(); next == first || !slices.Equal(got, sortedKeys(first, next)) {
		t.Fatalf("served %v, want %s and %s", got, first, next)
	}
	if s := w.status(); !s.Services[0].Serves || s.NextKey.ID == "" || s.Alarm.Code != "" {
		t.Errorf("%+v", s)
	}

	// The change is asked for at once, and comes when caches have forgotten.
	w.does(cli.ExitOK, "rollover", "mail")
	w.busy(cli.ExitOK, "run")
	s := w.status()
	if w.spki("lines/mail/live/cert.pem") != first || len(s.Waits) == 0 || !strings.HasPrefix(s.Waits[0].Why, "the next key waits: "+mailOwner+": caches may hold") {
		t.Fatalf("%+v", s)
	}
	opens := s.Waits[0].At.Sub(w.now())
	if opens < 90*time.Minute || opens > 2*townTTL+5*time.Minute {
		t.Errorf("it waits for %s", opens)
	}
	w.pass(opens - 5*time.Minute)
	if w.spki("lines/mail/live/cert.pem") != first {
		t.Fatal("the key changed too early")
	}
	if out, err := exec.Command(w.builder, "-C", w.tree, "--now", w.now().UTC().Format(time.RFC3339), "tlsa", "status").CombinedOutput(); err != nil || !strings.Contains(string(out), next) {
		t.Errorf("%v\n%s", err, out)
	}
	// While it waits, the live certificate renews with the live key.
	w.busy(cli.ExitOK, "renew", "mail", "--force")
	if w.spki("lines/mail/live/cert.pem") != first || w.status().Generation != 2 {
		t.Fatal("no renewal with the live key")
	}
	w.load()
	w.write("lines/broken", "") // the hook of the new certificate fails at first
	w.past += 6 * time.Minute
	if out := w.busy(cli.ExitFailed, "run"); !strings.Contains(out, "deploy: run sh: exit status 1") {
		t.Errorf("%s", out)
	}
	if w.spki("lines/mail/live/cert.pem") != next {
		t.Fatalf("the key has not changed: %+v", w.status())
	}
	if got := w.read("lines/told"); got != "1\n2\n" {
		t.Errorf("told of %q", got)
	}
	if err := os.Remove(w.path("lines/broken")); err != nil {
		t.Fatal(err)
	}
	// The mail server still has the old certificate: that is seen, the old key stays
	// published, and no next key is made before the last one has arrived.
	w.pass(40 * time.Minute)
	if got := w.read("lines/told"); got != "1\n2\n3\n" {
		t.Errorf("told of %q", got)
	}
	if s := w.status(); s.Services[0].Serves || !strings.Contains(s.Services[0].Lag, "still serves another certificate") || s.NextKey.ID != "" {
		t.Errorf("%+v", s)
	}
	if got := w.served(); !slices.Equal(got, sortedKeys(first, next)) {
		t.Errorf("served %v", got)
	}
	w.load()
	w.busy(cli.ExitOK, "run")
	third := w.spki("lines/mail/next/pubkey.pem")
	if third == next || third == first || !w.status().Services[0].Serves {
		t.Fatalf("%+v", w.status())
	}
	// zonebuild has seen the host too, and lets the first key go.
	w.pass(6 * time.Hour)
	if got := w.served(); !slices.Equal(got, sortedKeys(next, third)) {
		t.Errorf("served %v, want %s and %s", got, next, third)
	}
	if said := w.does(cli.ExitOK, "run"); said != "" {
		t.Errorf("it has not come to rest: %s", said)
	}
	w.noChallenges()
}

// TestKeyChangeForced: the word that goes past the gate breaks DANE, which the story
// above would see.
func TestKeyChangeForced(t *testing.T) {
	w := newTown(t, lab.NewPebble)
	w.does(cli.ExitOK, "init")
	w.busy(cli.ExitOK, "issue", "mail")
	w.load()
	w.pass(30 * time.Minute)
	w.does(cli.ExitUsage, "renew", "mail", "--force-new-key")
	before := w.spki("lines/mail/live/cert.pem")
	w.busy(cli.ExitOK, "renew", "mail", "--force-new-key", "--i-accept-dane-breakage")
	if w.spki("lines/mail/live/cert.pem") == before {
		t.Fatal("the key has not changed")
	}
	w.load()
	if why := w.unsafe(); !strings.Contains(why, "a cache may hold ["+before+"]") {
		t.Errorf("it is safe: %q, %v", why, w.seen)
	}
}

func sortedKeys(keys ...string) []string {
	slices.Sort(keys)
	return keys
}
