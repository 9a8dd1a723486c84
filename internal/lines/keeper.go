package lines

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"zonebuild/internal/acmeclient"
	"zonebuild/internal/config"
	"zonebuild/internal/durable"
)

// Keeper carries out what Decide says. Whoever uses it holds the lock of the
// state directory: a line has one keeper at a time.
type Keeper struct {
	Config   *config.Hook
	CA       CA
	Solver   acmeclient.Solver
	Observer Observer
	Before   func(ctx context.Context, l config.Line) error // before any order: what would make the CA fail; nil = nothing
	Hook     func(ctx context.Context, h Hook) error        // runs a program; RunHook, but in tests
	Now      func() time.Time
	Log      func(line, text string)
}

// Hook is a program that is told of something.
type Hook struct {
	Argv    []string
	Env     []string // all of it: nothing is inherited
	Dir     string
	Stdin   []byte    // nil: none
	Stdout  io.Writer // nil: what it prints is for messages only
	Timeout time.Duration
}

// plainPath is all of a program's environment that is not about its task.
const plainPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// maxSteps bounds the steps of one run of a line: each is taken once, but that a
// key is made before it is used.
const maxSteps = 16

// Run does what is due for a line. Errors: those of the steps; what could be done
// has been done all the same, and the state says what failed.
func (k *Keeper) Run(ctx context.Context, l config.Line, w Word) error {
	r := &run{Keeper: k, line: l, word: w, paths: PathsOf(k.Config, l.Name), services: k.Config.ServicesOf(l), failed: map[Step]error{}}
	err := r.do(ctx)
	if err != nil {
		err = fmt.Errorf("line %s: %w", l.Name, err)
	}
	return err
}

// run is one run of one line.
type run struct {
	*Keeper
	line     config.Line
	word     Word
	paths    Paths
	services []config.Service
	state    State
	failed   map[Step]error
	looked   bool
	probed   bool
	resting  bool // what failed in a run before this one is not tried yet
}

func (r *run) do(ctx context.Context) error {
	var err error
	if r.state, err = LoadState(r.Config, r.line.Name); err != nil {
		return err
	}
	before, err := json.Marshal(r.state)
	if err != nil {
		return err
	}
	failure := r.steps(ctx)
	switch {
	case failure == nil && !r.resting:
		r.state.Error, r.state.ErrorAt = "", time.Time{}
	case failure != nil:
		r.state.Error, r.state.ErrorAt = failure.Error(), r.Now().UTC().Truncate(time.Second)
	}
	if after, err := json.Marshal(r.state); err != nil || slices.Equal(before, after) {
		return errors.Join(failure, err)
	}
	return errors.Join(failure, r.save())
}

func (r *run) steps(ctx context.Context) error {
	for range maxSteps {
		in, err := r.input(ctx)
		if err != nil {
			return r.failures(err)
		}
		i := slices.IndexFunc(Decide(in).Steps, func(d Due) bool {
			_, failed := r.failed[d.Step]
			return !failed && (d.Step != StepProbe || !r.probed)
		})
		if i < 0 {
			r.resting = in.RetryAt.After(in.Now) || in.State.Deploy.RetryAt.After(in.Now)
			return r.failures(nil)
		}
		due := Decide(in).Steps[i]
		if due.Step != StepProbe {
			r.Log(r.line.Name, fmt.Sprintf("%s: %s", due.Step, due.Why))
		}
		if err := r.step(ctx, in, due.Step); err != nil {
			if ctx.Err() != nil {
				return r.failures(err)
			}
			r.failed[due.Step] = err
		}
	}
	return r.failures(errors.New("it does not come to an end"))
}

// failures are the errors of the steps, in the order of their names.
func (r *run) failures(last error) error {
	var all []error
	for _, s := range []Step{StepResume, StepMakeKey, StepIssue, StepRenew, StepAbandon, StepDeploy, StepProbe} {
		if err := r.failed[s]; err != nil {
			all = append(all, err)
		}
	}
	return errors.Join(append(all, last)...)
}

// input gathers what the decision depends on.
func (r *run) input(ctx context.Context) (Input, error) {
	files, err := r.paths.Read(r.line)
	if err != nil {
		return Input{}, err
	}
	r.look(ctx, files)
	in := Input{
		Line: r.line, Services: r.services, Files: files, State: r.state, Word: r.word,
		Params: Params{TTLs: r.Config.TTLs, Margin: r.Config.Margin}, Now: r.Now(),
	}
	if in.Order, in.RetryAt, err = onTheWay(r.CA, r.line.Name, in.Now); err != nil {
		return in, err
	}
	if files.Live != nil && r.line.RenewAt == 0 {
		if err := r.askRenewal(ctx, files.Live); err != nil {
			return in, err
		}
		in.State = r.state
	}
	return in, nil
}

// look observes the next key, once in a run for each key.
func (r *run) look(ctx context.Context, f Files) {
	services := slices.DeleteFunc(slices.Clone(r.services), func(s config.Service) bool { return !s.TLSA })
	if f.Next == nil || r.looked && r.state.Gate.Key == f.Next.Hash() || len(services) == 0 {
		return
	}
	r.looked = true
	r.state.Gate = r.state.Gate.Watch(f.Next, r.Observer.Look(ctx, services), r.Now().UTC().Truncate(time.Second))
}

// askRenewal asks when the certificate is to be renewed; the client asks the CA no
// more often than that wants.
func (r *run) askRenewal(ctx context.Context, g *Generation) error {
	if _, err := acmeclient.CertID(g.Leaf()); err != nil {
		return nil // of a CA that names no key identifier: by its lifetime
	}
	if len(r.state.Seed) == 0 {
		r.state.Seed = make([]byte, 16)
		rand.Read(r.state.Seed)
	}
	got, err := r.CA.Renewal(ctx, r.line.Name, g.Leaf(), r.state.Seed)
	if err == nil {
		r.state.Renewal = &got
	}
	return err
}

func (r *run) step(ctx context.Context, in Input, s Step) error {
	switch s {
	case StepResume:
		got, err := r.CA.Resume(ctx, r.Solver, r.line.Name)
		if err != nil {
			return err
		}
		return r.takeHome(in.Files, got)
	case StepAbandon:
		return r.CA.Abandon(ctx, r.Solver, r.line.Name)
	case StepMakeKey:
		k := in.Files.Wanted
		if k == nil {
			var err error
			if k, err = r.paths.newKey(r.line.KeyType, r.Now()); err != nil {
				return err
			}
		}
		return r.paths.publish(k)
	case StepIssue:
		return r.obtain(ctx, in.Files, in.Files.Next)
	case StepRenew:
		return r.obtain(ctx, in.Files, in.Files.Live.Key)
	case StepDeploy:
		return r.deploy(ctx, in.Files.Live)
	default:
		return r.probe(ctx, in.Files.Live)
	}
}

// obtain orders a certificate for a key and makes it live.
func (r *run) obtain(ctx context.Context, f Files, key *Key) error {
	if r.Before != nil {
		if err := r.Before(ctx, r.line); err != nil {
			return fmt.Errorf("before an order: %w", err)
		}
	}
	request := acmeclient.Request{
		Name: r.line.Name, Identifiers: r.line.Names, KeyRef: key.ID, Profile: r.line.Profile, Issuer: r.line.Issuer, CSR: key.CSR,
	}
	var err error
	if key.CSR == nil {
		if _, request.Key, err = r.paths.keyOf(key.ID); err != nil {
			return err
		}
	}
	if f.Live != nil {
		request.Replaces = f.Live.Leaf()
	}
	got, err := r.CA.Obtain(ctx, r.Solver, request)
	if err != nil {
		if f.Live != nil && key == f.Next && ctx.Err() == nil {
			r.state.ChangeFailed = key.Hash()
		}
		return err
	}
	return r.takeHome(f, got)
}

// takeHome stores a certificate, makes it live, and only then forgets its order.
func (r *run) takeHome(f Files, got *acmeclient.Certificate) error {
	for _, note := range got.Notes {
		r.Log(r.line.Name, note)
	}
	if f.Live != nil && f.Live.Leaf().Equal(got.Chain[0]) { // killed before it was forgotten
		return r.CA.Forget(r.line.Name)
	}
	number, err := r.paths.fresh(f)
	if err != nil {
		return fmt.Errorf("store the certificate: %w", err)
	}
	var key *Key
	for _, k := range []*Key{f.Next, f.Wanted, liveKey(f)} {
		if k != nil && k.ID == got.Key {
			key = k
		}
	}
	if key == nil {
		if key, _, err = r.paths.keyOf(got.Key); err != nil {
			return fmt.Errorf("store the certificate: %w", err)
		}
	}
	if err := r.paths.install(r.line, got.Chain, key, number); err != nil {
		return fmt.Errorf("store the certificate: %w", err)
	}
	r.word = Word{}
	if f.Live == nil || f.Live.Hash() != key.Hash() {
		r.state.Rollover = time.Time{}
	}
	r.state.Deploy, r.state.Lags, r.state.ChangeFailed = Deploy{Generation: number}, nil, ""
	if err := r.save(); err != nil {
		return err
	}
	if err := r.CA.Forget(r.line.Name); err != nil {
		return err
	}
	next := f.Next
	if next != nil && next.ID == key.ID {
		next = nil
	}
	return r.paths.prune(number, r.line.Keep, next)
}

func liveKey(f Files) *Key {
	if f.Live == nil {
		return nil
	}
	return f.Live.Key
}

// onTheWay reads what the client keeps of an order, without asking the CA.
func onTheWay(ca CA, name string, now time.Time) (*acmeclient.Order, time.Time, error) {
	j, err := ca.Journal()
	if err != nil {
		return nil, time.Time{}, err
	}
	o, found, err := ca.Order(name)
	if err != nil || !found {
		return nil, j.RetryAt(name, now), err
	}
	return &o, j.RetryAt(name, now), nil
}

// statePath is where the state of a line is.
func statePath(h *config.Hook, name string) string {
	return filepath.Join(h.StateDir, "line-"+name+".json")
}

// LoadState reads the state of a line; without file it is the zero one. One that
// cannot be read is an error: clocks must not begin anew in silence.
func LoadState(h *config.Hook, name string) (State, error) {
	var s State
	data, _, err := durable.ReadFile(statePath(h, name), maxPEM)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return s, fmt.Errorf("read the state: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("read the state %s: %w (without the file all clocks begin anew)", statePath(h, name), err)
	}
	return s, nil
}

// SaveState replaces the state of a line.
func SaveState(h *config.Hook, name string, s State) error {
	data, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	return durable.WriteFile(statePath(h, name), append(data, '\n'), durable.Options{Mode: 0o600})
}

func (r *run) save() error { return SaveState(r.Config, r.line.Name, r.state) }
