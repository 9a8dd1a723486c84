package acmeclient

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zonebuild/internal/domain"

	"zonebuild/internal/lab"
)

// death ends a run at one of its steps: from there on, everything that the run
// still tries (its deferred calls, as no kill lets them run) ends in a panic too.
// With an error, the step fails once instead, and the run goes on.
type death struct {
	at  string // "" = it lives for ever
	err error

	mu    sync.Mutex
	count map[string]int
	steps []string // all that were taken, as they are named for at
	dead  bool
}

type killed struct{}

// step takes one; it panics when the run is over.
func (d *death) step(where string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := strings.LastIndexByte(where, '/'); strings.Count(where, "/") > 1 { // names of the CA's change with each run
		where = where[:i]
	}
	if d.count == nil {
		d.count = map[string]int{}
	}
	d.count[where]++
	where += fmt.Sprint(" ", d.count[where])
	d.steps = append(d.steps, where)
	d.dead = d.dead || where == d.at
	switch {
	case d.err != nil && where == d.at:
		return d.err
	case d.err == nil && d.dead:
		panic(killed{})
	}
	return nil
}

// mortal is store, solver and transport of a run that will be killed, before or
// after what they do.
type mortal struct {
	*death
	Store
	z    *zone
	base http.RoundTripper
}

func (m *mortal) Load(name string) (data []byte, err error) {
	if err := m.step("before load " + name); err != nil {
		return nil, err
	}
	return m.Store.Load(name)
}

// around does something between two steps.
func (m *mortal) around(what string, do func() error) error {
	if err := m.step("before " + what); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return m.step("after " + what)
}

func (m *mortal) Save(name string, data []byte) error {
	return m.around("save "+name, func() error { return m.Store.Save(name, data) })
}

func (m *mortal) Remove(name string) error {
	return m.around("remove "+name, func() error { return m.Store.Remove(name) })
}

func (m *mortal) Present(ctx context.Context, owner domain.Name, value string) error {
	return m.around("present", func() error { return m.z.Present(ctx, owner, value) })
}

func (m *mortal) Wait(ctx context.Context, all []Challenge) error {
	return m.around("wait", func() error { return m.z.Wait(ctx, all) })
}

func (m *mortal) CleanUp(ctx context.Context, owner domain.Name, value string) error {
	return m.around("clean up", func() error { return m.z.CleanUp(ctx, owner, value) })
}

func (m *mortal) RoundTrip(r *http.Request) (*http.Response, error) {
	var res *http.Response
	heard := false
	defer func() {
		if res != nil && !heard {
			res.Body.Close()
		}
	}()
	err := m.around(r.Method+" "+r.URL.Path, func() (err error) {
		res, err = m.base.RoundTrip(r)
		return err
	})
	if err != nil {
		return nil, err
	}
	heard = true
	return res, nil
}

// victim is an account whose orders are interrupted.
type victim struct {
	t            *testing.T
	z            *zone
	ca           *lab.CA
	account, key crypto.Signer
	names        []string
}

func newVictim(t *testing.T) *victim {
	z := newZone(t)
	v := &victim{t: t, z: z, ca: newPebble(t, z.addr, pebbleOptions{}), account: p256(t), key: p256(t), names: []string{"example.org", "*.example.org"}}
	register(t, v.ca, func(c *Config) { c.Key = v.account })
	return v
}

// run does something with a client of its own, as a new process would.
func (v *victim) run(store Store, d *death, how func(*Client, Solver) (*Certificate, error)) (got *Certificate, err error, dead bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ours := r.(killed); !ours {
				panic(r)
			}
			dead = true
		}
	}()
	m := &mortal{death: d, Store: store, z: v.z}
	c := newClient(v.t, v.ca, func(c *Config) {
		c.Key, c.Store = v.account, m
		c.wrap = func(base http.RoundTripper) http.RoundTripper { m.base = base; return m }
	})
	got, err = how(c, m)
	return got, err, false
}

func (v *victim) obtain(c *Client, s Solver) (*Certificate, error) {
	return c.Obtain(v.t.Context(), s, Request{Name: "a", Identifiers: v.names, Key: v.key})
}

// TestKilled kills an order at every step and resumes it: one certificate is issued
// in all, it is the ordered one, and no challenge stays.
func TestKilled(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	// The first run lives and tells which steps there are. How often the CA is asked
	// how it is doing is not the same in all, so the steps that matter are named too.
	places := []string{""}
	want := []string{
		"before save order-a 1", "after POST /order-plz 1", "after save order-a 2", "after present 2", "before wait 1", "after POST /chalZ 2", "before clean up 1",
		"before save order-a 4", "before POST /finalize-order 1", "after POST /finalize-order 1", "before save order-a 5", "before POST /certZ 1", "after POST /certZ 1",
		"before the caller stores the certificate 1", "before remove order-a 1",
	}
	kills, again := map[string]bool{}, 0
	for n := 0; n < len(places); n++ {
		store := FileStore{t.TempDir()}
		before := issuedBy(v.ca)
		d := &death{at: places[n]}
		_, err, dead := v.run(store, d, func(c *Client, s Solver) (*Certificate, error) {
			got, err := v.obtain(c, s)
			if err == nil {
				err = d.step("before the caller stores the certificate")
			}
			if err == nil {
				err = c.Forget("a")
			}
			return got, err
		})
		if err != nil {
			t.Fatalf("%q: %v\n%s", d.at, err, v.ca.Log())
		}
		if n == 0 {
			places = append(places, d.steps...)
		}
		kills[d.at] = dead
		if !dead && slices.Contains(want, d.at) && again < 5 {
			// Pebble uses one of 100 authorizations again even if it shall use none: such
			// an order has fewer steps.
			again++
			n--
		}
		forgotten := !dead || strings.HasPrefix(d.at, "after remove order-a")
		got, err, _ := v.run(store, &death{}, func(c *Client, s Solver) (*Certificate, error) {
			got, err := c.Resume(t.Context(), s, "a")
			if errors.Is(err, ErrNoOrder) && !forgotten {
				got, err = v.obtain(c, s) // it had not begun
			}
			return got, err
		})
		if forgotten {
			if !errors.Is(err, ErrNoOrder) {
				t.Errorf("killed %s: %v", d.at, err)
			}
		} else if err != nil {
			t.Fatalf("killed %s: %v\n%s", d.at, err, v.ca.Log())
		} else {
			checkIssued(t, got, v.key, v.names...)
		}
		if issued := issuedBy(v.ca) - before; issued != 1 {
			t.Errorf("killed %s: %d certificates", d.at, issued)
		}
		v.z.empty(t)
	}
	for _, place := range want {
		if !kills[place] {
			t.Errorf("never killed %s: %q", place, places)
		}
	}
}

// TestFaults lets every step fail once, before it is done or after it: the network
// is asked again, what else fails is told, and the next run goes on from there.
func TestFaults(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	broken := errors.New("it broke")
	places := []string{""}
	for n := 0; n < len(places); n++ {
		store := FileStore{t.TempDir()}
		before := issuedBy(v.ca)
		d := &death{at: places[n], err: broken}
		got, err, _ := v.run(store, d, v.obtain)
		if n == 0 {
			places = append(places, d.steps...)
		}
		network := strings.Contains(d.at, "GET") || strings.Contains(d.at, "HEAD") || strings.Contains(d.at, "POST")
		noted := strings.Contains(d.at, "journal") && d.at != "before load journal 1" // what the CA has done is not lost for it
		harmless := network || d.at == "" || !d.dead || strings.Contains(d.at, "clean up") || noted
		if (err == nil) != harmless || err != nil && (!errors.Is(err, broken) || got != nil) {
			t.Fatalf("%s: %v\n%s", d.at, err, v.ca.Log())
		}
		if err != nil {
			got, err, _ = v.run(store, &death{}, v.obtain)
		}
		if err != nil {
			t.Fatalf("again after %s: %v\n%s", d.at, err, v.ca.Log())
		}
		got.Notes = nil
		checkIssued(t, got, v.key, v.names...)
		if issued := issuedBy(v.ca) - before; issued != 1 {
			t.Errorf("%s: %d certificates", d.at, issued)
		}
		v.z.empty(t)
	}
	if len(places) < 50 {
		t.Errorf("only %d steps", len(places))
	}
}

// An order that the CA has lost in the meantime is made anew; one for other names is
// not mixed up with it.
func TestResumeOther(t *testing.T) {
	f, z := newFakeCA(t), newZone(t)
	c := register(t, f)
	key := p256(t)
	a := Request{Name: "a", Identifiers: []string{"example.org"}, Key: key}

	if _, err := c.Resume(t.Context(), z, "a"); err == nil || err.Error() != "resume a: there is no order" {
		t.Errorf("%v", err)
	}
	if _, err := c.Resume(t.Context(), z, "../a"); err == nil || err.Error() != `resume ../a: "../a" is no name of [a-z0-9._-] that begins with a letter or a digit` {
		t.Errorf("%v", err)
	}

	// Interrupted while the name servers are waited for: nothing was asked of the CA.
	z.fail = func(call string) error {
		if call == "wait" {
			return errors.New("ns1.example.org. lags")
		}
		return nil
	}
	_, err := c.Obtain(t.Context(), z, a)
	if want := "obtain a: wait for the challenges: ns1.example.org. lags"; err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	z.empty(t)
	z.fail = nil
	if n := f.Asked("/challenge/0"); n != 0 {
		t.Errorf("the CA was told %d times", n)
	}
	first, found, err := c.Order("a")
	if !found || err != nil || first.Phase != PhaseOrdered {
		t.Fatalf("%+v %v", first, err)
	}

	// The same again goes on with it; another one first gives it up.
	f.Names = nil
	b := Request{Name: "a", Identifiers: []string{"www.example.org"}, Key: key}
	if _, err := c.Obtain(t.Context(), z, b); err != nil {
		t.Fatal(err)
	}
	if n := f.Asked("/newOrder"); n != 2 {
		t.Errorf("%d orders", n)
	}
	// Issued and not fetched by its caller: it is not thrown away for another.
	if _, err := c.Obtain(t.Context(), z, a); err == nil || err.Error() != "obtain a: an order for something else is not finished: [www.example.org], issued" {
		t.Errorf("%v", err)
	}
	got, err := c.Resume(t.Context(), z, "a")
	if err != nil {
		t.Fatal(err)
	}
	checkIssued(t, got, key, "www.example.org")

	// Another account, another CA.
	other := register(t, newFakeCA(t), func(config *Config) { config.Store = c.store })
	if _, err := other.Resume(t.Context(), z, "a"); !errors.Is(err, ErrUnfinished) {
		t.Errorf("%v", err)
	}
	if err := c.Abandon(t.Context(), z, "a"); err != nil {
		t.Error(err)
	}
	if _, found, _ := c.Order("a"); found {
		t.Error("abandoned and there")
	}

	// Lost by the CA while it was ordered.
	o, err := c.plan(Request{Name: "a", Identifiers: []string{"example.org"}, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	o.Account, o.Phase, o.URL = f.Server.URL+"/account", PhaseOrdered, f.Server.URL+"/gone"
	o.Challenges = []Challenge{{domain.MustParse("_acme-challenge.example.org"), strings.Repeat("x", 43)}}
	z.txt[o.Challenges[0]] = true
	if err := c.saveOrder(o); err != nil {
		t.Fatal(err)
	}
	f.Status, f.Proved = "pending", false
	got, err = c.Resume(t.Context(), z, "a")
	if err != nil {
		t.Fatal(err)
	}
	checkIssued(t, got, key, "example.org")
	z.empty(t)
}

// TestCancelled: whoever gives up leaves no challenge behind.
func TestCancelled(t *testing.T) {
	f, z := newFakeCA(t), newZone(t)
	c := register(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	z.fail = func(call string) error {
		if call == "wait" {
			cancel()
			return ctx.Err()
		}
		return nil
	}
	_, err := c.Obtain(ctx, z, Request{Name: "a", Identifiers: []string{"example.org", "*.example.org"}, Key: p256(t)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	z.empty(t)
	if want := []string{"present _acme-challenge.example.org.", "present _acme-challenge.example.org.", "wait", "clean up _acme-challenge.example.org.", "clean up _acme-challenge.example.org."}; !slices.Equal(z.calls, want) {
		t.Errorf("%q", z.calls)
	}
	j, err := c.Journal()
	if err != nil || len(j.Failures) > 0 {
		t.Errorf("it counts as a failure: %v %v", j, err)
	}
}

// A challenge that cannot be removed costs no certificate, and is told.
func TestCleanUpFails(t *testing.T) {
	f, z := newFakeCA(t), newZone(t)
	c := register(t, f)
	z.fail = func(call string) error {
		if strings.HasPrefix(call, "clean up") {
			return errors.New("the box is full")
		}
		return nil
	}
	got, err := c.Obtain(t.Context(), z, Request{Name: "a", Identifiers: []string{"example.org"}, Key: p256(t)})
	if err != nil {
		t.Fatal(err)
	}
	if want := "remove the challenge of _acme-challenge.example.org.: the box is full"; !slices.Contains(got.Notes, want) {
		t.Errorf("%q", got.Notes)
	}
	z.fail = nil
	if err := c.Abandon(t.Context(), z, "a"); err != nil {
		t.Error(err)
	}
	z.empty(t)
}

func TestLoopStops(t *testing.T) {
	f, z := newFakeCA(t), newZone(t)
	now := time.Now().Truncate(time.Second)
	c := register(t, f, func(c *Config) { c.Now = func() time.Time { return now } })
	f.Change = func(f *fakeCA, path string, b map[string]any) {
		if strings.HasPrefix(path, "/authz/") && f.Proved {
			b["status"] = "invalid"
			b["challenges"] = []any{map[string]any{"type": "dns-01", "status": "invalid", "error": map[string]any{"type": acmeErrors + "dns", "detail": "no TXT"}}}
		}
	}
	request := Request{Name: "a", Identifiers: []string{"example.org"}, Key: p256(t)}
	wait := []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, 24 * time.Hour, 24 * time.Hour}
	for i := range 5 {
		f.Proved, f.Status = false, "pending"
		if _, err := c.Obtain(t.Context(), z, request); !errors.Is(err, ErrValidation) {
			t.Fatalf("%d: %v", i, err)
		}
		j, err := c.Journal()
		if err != nil {
			t.Fatal(err)
		}
		if at := j.RetryAt("a", now); !at.Equal(now.Add(wait[i])) {
			t.Errorf("after %d failures it may be tried at %s", i+1, at.Sub(now))
		}
		now = now.Add(time.Minute)
	}
	orders := f.Asked("/newOrder")
	_, err := c.Obtain(t.Context(), z, request)
	want := fmt.Sprintf("obtain a: too many failures: example.org failed 5 times within an hour, it rests until %s", stamp(now.Add(55*time.Minute)))
	if err == nil || err.Error() != want || f.Asked("/newOrder") != orders {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
	now = now.Add(55 * time.Minute)
	f.Change, f.Proved, f.Status = nil, false, "pending"
	if _, err := c.Obtain(t.Context(), z, request); err != nil {
		t.Fatal(err)
	}
	if j, err := c.Journal(); err != nil || len(j.Failures) != 0 {
		t.Errorf("%v %v", j, err)
	}
}

// TestNotProved: what Pebble says of a name that is not proved, of two at once.
func TestNotProved(t *testing.T) {
	for version, start := range pebbles() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			z, silent := newZone(t), newZone(t)
			ca := start(t, silent.addr)
			c := register(t, ca)
			names := []string{"example.org", "*.example.org", "www.example.org"}
			_, err := c.Obtain(t.Context(), z, Request{Name: "a", Identifiers: names, Key: p256(t)})
			if !errors.Is(err, ErrValidation) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v", err)
			}
			for _, name := range names {
				if !strings.Contains(err.Error(), name+": unauthorized (unauthorized): ") {
					t.Errorf("%v", err)
				}
			}
			if _, found, err := c.Order("a"); found || err != nil {
				t.Errorf("a record is left: %v", err)
			}
			j, err := c.Journal()
			if err != nil || len(j.Failures) != 4 {
				t.Errorf("%+v %v", j, err)
			}
			z.empty(t)
		})
	}
}
