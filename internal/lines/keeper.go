package lines

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
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
	fresh    bool // a certificate was stored
	resting  bool // what failed in a run before this one is not tried yet
}

func (r *run) do(ctx context.Context) error {
	var err error
	r.state, err = LoadState(r.Config, r.line.Name)
	if errors.Is(err, errDamaged) { // clocks begin anew, hooks run again: nothing is used early
		r.Log(r.line.Name, err.Error())
	} else if err != nil {
		return err
	}
	before, err := json.Marshal(r.state)
	if err != nil {
		return err
	}
	if err := r.paths.share(); err != nil {
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
			return !r.over(d.Step)
		})
		if i < 0 {
			r.refuse(in)
			r.resting = slices.ContainsFunc([]time.Time{in.RetryAt, in.State.KeyRetry.until(in.Now)}, in.Now.Before) ||
				in.State.Deploy.failing(r.line.Deploy) && believed(in.State.Deploy.RetryAt, in.Now).After(in.Now)
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
			if errors.Is(err, acmeclient.ErrTooManyOrders) {
				continue // the CA was not asked, and it is known when it may be
			}
			if due.Step == StepIssue || due.Step == StepRenew || due.Step == StepResume || due.Step == StepCombine {
				r.state.Retry = r.state.Retry.failed(r.Now())
			}
			if due.Step == StepMakeKey {
				r.state.KeyRetry = r.state.KeyRetry.failed(r.Now())
			}
		}
	}
	return r.failures(errors.New("it does not come to an end"))
}

// over reports whether a step is not taken again in this run. What failed is not, nor
// what would only ask for the same once more.
func (r *run) over(s Step) bool {
	if _, failed := r.failed[s]; failed || s == StepProbe && r.probed {
		return true
	}
	return (s == StepResume || s == StepCombine) && (r.failed[StepIssue] != nil || r.failed[StepRenew] != nil)
}

// failures are the errors of the steps, in the order of their names.
func (r *run) failures(last error) error {
	var all []error
	for _, s := range []Step{stepRead, stepWord, StepResume, StepMakeKey, StepIssue, StepRenew, StepAbandon, StepLink, StepCombine, StepDeploy, StepProbe} {
		if err := r.failed[s]; err != nil {
			all = append(all, err)
		}
	}
	return errors.Join(append(all, last)...)
}

// Things that fail beside the steps.
const (
	stepRead Step = "read"
	stepWord Step = "word"
)

// refuse notes, when nothing is left to do, which files cannot be used, and that what
// the operator asked for has not come about.
func (r *run) refuse(in Input) {
	var faults []error
	if g := in.Files.Live; g != nil && g.KeyFault != "" {
		faults = append(faults, errors.New(g.KeyFault))
	}
	if in.Files.NextFault != "" {
		faults = append(faults, errors.New(in.Files.NextFault))
	}
	if err := errors.Join(faults...); err != nil {
		r.failed[stepRead] = err
	}
	if (r.word.Renew || r.word.Break) && len(r.failed) == 0 {
		why := "nothing is due"
		for _, w := range Decide(in).Waits {
			if why = w.Why; w.At.IsZero() {
				break
			}
		}
		r.failed[stepWord] = fmt.Errorf("nothing was done: %s", why)
	}
}

// input gathers what the decision depends on.
func (r *run) input(ctx context.Context) (Input, error) {
	files, err := r.paths.Read(r.line)
	if err != nil {
		return Input{}, err
	}
	if err := r.listen(files.Live); err != nil {
		return Input{}, err
	}
	if files.Live != nil {
		r.state.InUse = r.state.inUse(files.Live)
	}
	r.look(ctx, files)
	in := Input{
		Line: r.line, Services: r.services, Files: files, State: r.state, Word: r.word, Fresh: r.fresh,
		Params: Params{TTLs: r.Config.TTLs, Margin: r.Config.Margin}, Wanted: wanted(r.Config), Now: r.Now(),
	}
	err = in.onTheWay(r.CA)
	if errors.Is(err, acmeclient.ErrDamaged) { // of an order nobody can finish
		r.Log(r.line.Name, "an order is given up: "+err.Error())
		err = r.CA.Forget(r.line.Name)
	}
	if err != nil {
		return in, err
	}
	if at := r.state.Retry.until(in.Now); at.After(in.RetryAt) {
		in.RetryAt = at
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
	if f.Next == nil || r.line.NoDANE || r.looked && r.state.Gate.Key == f.Next.Hash() || len(services) == 0 {
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
		if errors.Is(err, acmeclient.ErrUnfinished) { // of another account or CA: nothing comes of it here
			r.Log(r.line.Name, "the order is given up: "+err.Error())
			return r.CA.Abandon(ctx, r.Solver, r.line.Name)
		}
		if err != nil {
			return err
		}
		return r.takeHome(ctx, in.Files, got, true)
	case StepAbandon:
		return r.CA.Abandon(ctx, r.Solver, r.line.Name)
	case StepMakeKey:
		return r.makeKey(in.Files.Wanted)
	case StepIssue:
		return r.obtain(ctx, in.Files, in.Files.Next)
	case StepRenew:
		return r.obtain(ctx, in.Files, in.Files.Live.Key)
	case StepLink:
		return r.paths.linkKey(r.paths.generation(in.Files.Live.Number), "privkey.pem", r.paths.key(in.Files.Live.Key.ID))
	case StepCombine:
		return r.combine(in.Files.Live)
	case StepDeploy:
		return r.deploy(ctx, in.Files.Live)
	default:
		return r.probe(ctx, in.Files.Live)
	}
}

// makeKey makes the next key, or takes the one of a certificate request. A key that
// cannot be published is removed: tries must not fill the directory with private keys.
func (r *run) makeKey(k *Key) error {
	made := k == nil
	if made {
		var err error
		if k, err = r.paths.newKey(r.line.KeyType, r.Now()); err != nil {
			return err
		}
	}
	err := r.paths.publish(k)
	switch {
	case err != nil && made:
		return errors.Join(err, r.paths.drop(k.ID))
	case err == nil:
		r.state.KeyRetry = Retry{}
	}
	return err
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
		Beyond: r.word.Beyond,
	}
	var err error
	if key.CSR == nil {
		if _, request.Key, err = r.paths.keyOf(key.ID); err != nil {
			return err
		}
	}
	if f.Live != nil && !r.state.Source.elsewhere(f.Live, wanted(r.Config)) {
		request.Replaces = f.Live.Leaf()
	}
	got, err := r.CA.Obtain(ctx, r.Solver, request)
	if err != nil {
		if f.Live != nil && key == f.Next && ctx.Err() == nil && !errors.Is(err, acmeclient.ErrTooManyOrders) {
			r.state.ChangeFailed = key.Hash()
		}
		return err
	}
	return r.takeHome(ctx, f, got, false)
}

func liveKey(f Files) *Key {
	if f.Live == nil {
		return nil
	}
	return f.Live.Key
}

// onTheWay reads what the client keeps of orders, without asking the CA.
func (in *Input) onTheWay(ca CA) error {
	j, err := ca.Journal()
	if err != nil {
		return err
	}
	in.RetryAt = j.RetryAt(in.Line.Name, in.Now)
	in.Full.At, in.Full.Why = j.Full(in.Wanted.Directory, in.Line.Names, in.Now)
	o, found, err := ca.Order(in.Line.Name)
	if err == nil && found {
		in.Order = &o
	}
	return err
}

// statePath is where the state of a line is.
func statePath(h *config.Hook, name string) string {
	return filepath.Join(h.StateDir, "line-"+name+".json")
}

// errDamaged is a state that is none.
var errDamaged = errors.New("it is damaged")

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
		return State{}, fmt.Errorf("read the state %s: %w: all clocks begin anew: %w", statePath(h, name), errDamaged, err)
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
