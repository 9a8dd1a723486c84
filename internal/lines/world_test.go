package lines

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"maps"
	"math/big"
	mathrand "math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"zonebuild/internal/acmeclient"
	"zonebuild/internal/config"
	"zonebuild/internal/domain"
	"zonebuild/tlsa"
)

// world is a CA, two name servers, a builder and a service around a line, all under
// one simulated clock.
type world struct {
	t    *testing.T
	rand *mathrand.Rand
	now  time.Time
	hook *config.Hook
	line config.Line

	ttl      time.Duration
	versions [2][]version // of the TLSA RRset, by server
	dnsUntil time.Time    // no server answers, none gets a new zone

	life    time.Duration // of certificates
	caUntil time.Time     // it is out
	root    *x509.Certificate
	rootKey crypto.Signer
	serial  int64
	order   *acmeclient.Order
	issued  *acmeclient.Certificate
	refuse  func(r acmeclient.Request) bool // a request that the CA does not take; nil: none
	issuing func(r acmeclient.Request)      // what happens while the CA works; nil: nothing
	suggest func() time.Time                // when the CA wants any certificate to be renewed; nil: by its lifetime
	broken  error                           // of each attempt to resume
	orders  int

	hidden time.Time // the next key is not published until then

	careless   float64       // probability of an accident of acmehook's own at each tick
	awayUntil  time.Time     // nobody runs it
	ahead      time.Duration // its clock is ahead by this
	aheadUntil time.Time
	gaps       int // of both
	jumps      int

	hookUntil time.Time // hooks fail
	served    *x509.Certificate
	keys      map[string]time.Time // that were ever served, since when

	crash    float64 // probability of a death at each point
	deaths   int
	violated string
}

// version is what a server served from an instant on.
type version struct {
	from time.Time
	set  map[string]bool // hashes of keys
}

// death is a process that ends at a point.
type death struct{}

var errOut = errors.New("out of order")

func newWorld(t *testing.T, life time.Duration, seed uint64) *world {
	t.Helper()
	dir := memory(t)
	w := &world{
		t: t, rand: mathrand.New(mathrand.NewPCG(seed, 7)), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		ttl: 24 * time.Hour, life: life, keys: map[string]time.Time{},
		line: config.Line{
			Name: "mail", Names: []string{"mail.example.org"}, KeyType: "ecdsa-p256", ReuseKey: true, NextKey: true,
			MaxKeyAge: 365 * 24 * time.Hour, Services: []string{"smtp"}, Deploy: [][]string{{"reload"}}, Timeout: time.Minute, Keep: 5,
		},
	}
	w.hook = &config.Hook{
		LinesDir: filepath.Join(dir, "lines"), KeysDir: filepath.Join(dir, "keys"), StateDir: dir, TTLs: 2, Margin: 5 * time.Minute,
		Services: []config.Service{{Name: "smtp", Host: domain.MustParse("mail.example.org"), Port: 25, Proto: "tcp", TLSA: true}},
	}
	w.hook.Lines = []config.Line{w.line}
	w.rootKey = mustKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true, SubjectKeyId: []byte{1, 2, 3},
		NotBefore: w.now, NotAfter: w.now.AddDate(10, 0, 0),
	}, &x509.Certificate{Subject: pkix.Name{CommonName: "root"}}, w.rootKey.Public(), w.rootKey)
	if err != nil {
		t.Fatal(err)
	}
	if w.root, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return w
}

// memory is a directory that flushes nothing to a disk, where the system has one:
// two years are many files.
func memory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "lines")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func mustKey(t *testing.T) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// keeper is a process: it knows nothing but what is on the disk.
func (w *world) keeper() *Keeper {
	return &Keeper{
		Config: w.hook, CA: w, Observer: w, Now: w.clock,
		Hook: w.deploy, Log: func(string, string) { w.point() },
	}
}

// clock is that of acmehook's host.
func (w *world) clock() time.Time { return w.now.Add(w.ahead) }

// point is where a process may die.
func (w *world) point() {
	if w.crash > 0 && w.rand.Float64() < w.crash {
		panic(death{})
	}
}

// run lets a process do what is due; it may die.
func (w *world) run(word Word) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(death); !ok {
				panic(r)
			}
			w.deaths++
			err = errors.New("killed")
		}
	}()
	return w.keeper().Run(w.t.Context(), w.line, word)
}

func (w *world) files() Files {
	w.t.Helper()
	f, err := PathsOf(w.hook, w.line.Name).Read(w.line)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

func (w *world) Obtain(_ context.Context, _ acmeclient.Solver, r acmeclient.Request) (*acmeclient.Certificate, error) {
	w.point()
	if w.now.Before(w.caUntil) {
		return nil, errOut
	}
	if w.refuse != nil && w.refuse(r) {
		return nil, acmeclient.ErrCSR
	}
	if w.order != nil && w.order.Key == r.KeyRef {
		return w.issued, nil
	}
	w.serial++
	w.orders++
	public := crypto.PublicKey(nil)
	if r.CSR != nil {
		csr, err := x509.ParseCertificateRequest(r.CSR)
		if err != nil {
			return nil, err
		}
		public = csr.PublicKey
	} else {
		public = r.Key.Public()
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(w.serial), DNSNames: r.Identifiers, NotBefore: w.now.Add(-time.Hour), NotAfter: w.now.Add(w.life),
	}, w.root, public, w.rootKey)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	w.order = &acmeclient.Order{Name: r.Name, Key: r.KeyRef, Phase: acmeclient.PhaseIssued, Created: w.clock()}
	w.issued = &acmeclient.Certificate{Chain: []*x509.Certificate{leaf, w.root}, Key: r.KeyRef}
	if w.issuing != nil {
		w.issuing(r)
	}
	w.point()
	return w.issued, nil
}

func (w *world) Resume(context.Context, acmeclient.Solver, string) (*acmeclient.Certificate, error) {
	w.point()
	if w.now.Before(w.caUntil) {
		return nil, errOut
	}
	return w.issued, w.broken
}

func (w *world) Abandon(context.Context, acmeclient.Solver, string) error {
	w.order, w.issued = nil, nil
	return nil
}

func (w *world) Forget(string) error {
	w.point()
	w.order, w.issued = nil, nil
	w.point()
	return nil
}

func (w *world) Order(string) (acmeclient.Order, bool, error) {
	if w.order == nil {
		return acmeclient.Order{}, false, nil
	}
	return *w.order, true, nil
}

func (w *world) Renewal(_ context.Context, _ string, leaf *x509.Certificate, _ []byte) (acmeclient.Renewal, error) {
	id, err := acmeclient.CertID(leaf)
	r := acmeclient.Renewal{CertID: id, At: acmeclient.ByLifetime(leaf)}
	if w.suggest != nil {
		r.At, r.Start = w.suggest(), w.suggest()
	}
	return r, err
}

func (w *world) Journal() (acmeclient.Journal, error) { return acmeclient.Journal{}, nil }

func (w *world) Look(context.Context, []config.Service) []Sight {
	w.point()
	s := Sight{Service: "smtp", Owner: "_25._tcp.mail.example.org."}
	for i, name := range []string{"ns1", "ns2"} {
		v := ServerSight{Server: name, TTL: uint32(w.ttl / time.Second)}
		if w.now.Before(w.dnsUntil) {
			v = ServerSight{Server: name, Silent: "does not answer"}
		} else if n := len(w.versions[i]); n > 0 {
			for h := range w.versions[i][n-1].set {
				v.Records = append(v.Records, tlsa.Record{Kind: tlsa.Kind{Usage: 3, Selector: 1, MatchingType: 1}, Data: string(unhex(h))})
			}
		}
		s.Servers = append(s.Servers, v)
	}
	return []Sight{s}
}

func (w *world) Probe(context.Context, config.Service, [][]byte) ([]Shown, error) {
	w.point()
	addr := netip.MustParseAddrPort("192.0.2.25:25")
	if w.served == nil {
		return []Shown{{Addr: addr, Err: errOut}}, nil
	}
	return []Shown{{Addr: addr, Chains: [][][]byte{{w.served.Raw}}}}, nil
}

// deploy is the hook that makes the service load what is live.
func (w *world) deploy(context.Context, Hook) error {
	w.point()
	if w.now.Before(w.hookUntil) {
		return errOut
	}
	w.served = w.files().Live.Leaf()
	if key := hash(w.served.RawSubjectPublicKeyInfo); w.keys[key].IsZero() {
		w.keys[key] = w.now
	}
	w.check()
	w.point()
	return nil
}

// publish is the builder's pass: the keys of both files, and the one that the
// service has. The second server gets it later.
func (w *world) publish() {
	if w.now.Before(w.dnsUntil) {
		return
	}
	f := w.files()
	set := map[string]bool{}
	if w.served != nil {
		set[hash(w.served.RawSubjectPublicKeyInfo)] = true
	}
	if f.Live != nil {
		set[f.Live.Hash()] = true
	}
	if f.Next != nil && !w.now.Before(w.hidden) {
		set[f.Next.Hash()] = true
	}
	for i := range w.versions {
		if i == 1 && w.rand.Float64() < 0.7 {
			continue
		}
		if n := len(w.versions[i]); n == 0 || !same(w.versions[i][n-1].set, set) {
			w.versions[i] = append(w.versions[i], version{w.now, set})
		}
	}
}

func same(a, b map[string]bool) bool {
	for k := range a {
		if !b[k] {
			return false
		}
	}
	return len(a) == len(b)
}

// check wants the served certificate to be valid, and pinned in every version of
// the RRset that a cache may hold now.
func (w *world) check() {
	if w.served == nil || w.violated != "" {
		return
	}
	if w.now.Before(w.served.NotBefore) || w.now.After(w.served.NotAfter) {
		w.violated = w.now.Format(time.RFC3339) + ": the served certificate is not valid"
		return
	}
	key := hash(w.served.RawSubjectPublicKeyInfo)
	for i, list := range w.versions {
		for n, v := range list {
			over := n+1 < len(list) && list[n+1].from.Add(w.ttl).Before(w.now)
			if !over && len(v.set) > 0 && !v.set[key] { // without records there is no DANE
				w.violated = w.now.Format(time.RFC3339) + ": a cache holds TLSA records of server " + string(rune('1'+i)) + " without the served key"
			}
		}
	}
}

// withdraw takes the records of the next key away, from all servers, until then.
func (w *world) withdraw(until time.Time) {
	w.hidden = until
	f := w.files()
	for i, list := range w.versions {
		if n := len(list); n > 0 && f.Next != nil {
			set := maps.Clone(list[n-1].set)
			delete(set, f.Next.Hash())
			w.versions[i] = append(list, version{w.now, set})
		}
	}
}

// tick is a while in which anything may fail.
func (w *world) tick(step time.Duration) {
	w.now = w.now.Add(step)
	for _, until := range []*time.Time{&w.caUntil, &w.dnsUntil, &w.hookUntil} {
		if w.rand.Float64() < 0.01 {
			*until = w.now.Add(time.Duration(w.rand.Float64() * float64(w.life) / 10))
		}
	}
	w.mishap()
	w.publish()
	w.check()
	if !w.now.Before(w.awayUntil) {
		w.run(Word{}) // what fails is tried again
	}
	w.check()
}

// mishap is an accident of acmehook's own, one at a time: nobody runs it for a while, in
// which the next key's records go away and come back just before somebody does; or its
// clock is ahead for a while.
func (w *world) mishap() {
	switch {
	case w.now.Before(w.awayUntil), w.now.Before(w.aheadUntil):
	case w.ahead > 0:
		w.ahead = 0
	case w.rand.Float64() < w.careless/2:
		w.leave()
	case w.rand.Float64() < w.careless/2:
		w.jump()
	}
}

// leave is a gap of more than the TTL.
func (w *world) leave() {
	w.gaps++
	w.awayUntil = w.now.Add(w.ttl + time.Duration((0.1+w.rand.Float64())*float64(w.life)/10))
	w.withdraw(w.awayUntil)
}

// jump is a clock ahead of up to three days.
func (w *world) jump() {
	w.jumps++
	w.ahead = time.Duration(w.rand.Float64() * float64(3*day))
	w.aheadUntil = w.now.Add(time.Duration(w.rand.Float64() * float64(4*day)))
}

func unhex(s string) []byte {
	out := make([]byte, sha256.Size)
	for i := range out {
		out[i] = nibble(s[2*i])<<4 | nibble(s[2*i+1])
	}
	return out
}

func nibble(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}
