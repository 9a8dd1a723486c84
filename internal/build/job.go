package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"time"

	"zonebuild/internal/cli"
	"zonebuild/internal/config"
	"zonebuild/internal/diag"
	"zonebuild/internal/dnssec"
	"zonebuild/internal/domain"
	"zonebuild/internal/durable"
	"zonebuild/internal/guard"
	"zonebuild/internal/verify"
	"zonebuild/zone"
)

// Actions of a Result.
const (
	Unchanged   = "unchanged"
	Published   = "published"
	Unconfirmed = "unconfirmed" // committed, but not seen served yet
	Confirmed   = "confirmed"   // an earlier publish was seen served at last
	WouldChange = "would-publish"
	Rejected    = "rejected" // faults in the input; last good stays
	Refused     = "refused"  // a guard; last good stays
	Failed      = "failed"
	RolledBack  = "rolled-back"
	Busy        = "busy"    // another process is at work on it, and it was passed over
	Waiting     = "waiting" // its sources are in other hands and nothing of them is kept; last good stays
)

// Result is what one pass did to one zone.
type Result struct {
	Zone        domain.Name     `json:"zone"`
	Action      string          `json:"action"`
	Orphan      bool            `json:"orphan,omitempty"` // published, but not in the tree
	Serial      uint32          `json:"serial,omitempty"`
	Confirmed   bool            `json:"confirmed"`
	Reasons     []string        `json:"reasons,omitempty"`
	Records     int             `json:"records,omitempty"`
	NewSigs     int             `json:"signatures_new"`
	KeptSigs    int             `json:"signatures_kept"`
	Next        time.Time       `json:"next,omitzero"` // when the first signature falls due
	Refusals    []guard.Finding `json:"refusals,omitempty"`
	Diagnostics diag.List       `json:"diagnostics,omitempty"`
	FaultsNew   bool            `json:"-"`              // the diagnostics differ from those of the last run
	Kept        string          `json:"kept,omitempty"` // why the last good records stay, where no diagnostic or refusal says it
	Error       string          `json:"error,omitempty"`
	News        bool            `json:"-"` // refusals, Kept or Error differ from those of the last run
	Code        int             `json:"exit"`

	Waits    bool `json:"-"` // as with Waiting, also where challenges were published
	compiled bool // its sources were compiled in this pass

	After After `json:"-"` // what a daemon has to know
}

// job is one zone in one pass.
type job struct {
	z     *config.Zone
	state *State
	lock  *durable.Lock
	now   time.Time
	res   Result

	alarmsBefore []Alarm   // as they stood before the pass
	before       []Refusal // likewise
	busy         bool      // another process holds the lock

	head    published
	prev    *dnssec.Previous // what is published, read back; nil for a first build
	prevOK  bool             // prev is signed/ZONE itself, with the digest it should have
	prevIn  [sha256.Size]byte
	trusted *verify.Trusted  // prev, as the verifier has it; nil until that is wanted
	changed bool             // another hand changed what was published
	reader  *publishedReader // while the rollovers are stepped
	input   [sha256.Size]byte
	quick   *glimpse // of this pass, before the lock; nil = nobody looked

	host     int    // records of soa/ and primary/, once they are accepted
	faults   string // digest of the warnings of that input
	held     string // why the last good records are published instead of the input
	grafted  bool   // with other challenges
	reload   bool   // the server has to be told
	keys     []dnssec.Key
	unsigned func() error // waits for the copy in unsigned/; nil when none is being written
	oldest   time.Time    // expiration of the signatures that were made or kept for this publish
}

// fail ends the job with an error that a retry may mend.
func (j *job) fail(alarm string, err error) {
	j.res.Action, j.res.Error = Failed, err.Error()
	j.res.Code = cli.Worst(j.res.Code, cli.ExitFailed)
	j.state.raise(alarm, err.Error(), j.now)
}

// news tells whether what was refused or failed is anything else than the last run
// said: cron sends mail. A run that writes nothing is asked by a person.
func (j *job) news(asked bool) {
	told := func(message string) bool {
		return slices.ContainsFunc(j.alarmsBefore, func(a Alarm) bool { return a.Message == message })
	}
	r := &j.res
	r.News = asked || j.lock == nil
	if asked {
		r.FaultsNew = true
	}
	if r.Refusals != nil {
		for _, is := range j.state.Refused { // their messages may hold the time
			r.News = r.News || !slices.ContainsFunc(j.before, func(was Refusal) bool {
				return was.Guard == is.Guard && was.Candidate == is.Candidate && timeless(was.Message) == timeless(is.Message)
			})
		}
	}
	r.News = r.News || r.Kept != "" && !told(r.Kept) || r.Error != "" && !told(r.Error)
}

// timeless is a message without the instants in it.
func timeless(message string) string {
	return regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`).ReplaceAllString(message, "")
}

// hold makes the last good records the candidate.
func (j *job) hold(alarm, why string) {
	j.held = why
	j.res.Code = cli.Worst(j.res.Code, cli.ExitRejected)
	j.state.raise(alarm, why, j.now)
}

// prepare takes a zone from its sources to a committed signed/ZONE, or decides
// that nothing is to be done.
func (p *pass) prepare(ctx context.Context, j *job) {
	t := p.tree
	j.head = t.readHead(j.z.Name)
	p.rollOver(j)
	begun := p.clock()
	var quick [sha256.Size]byte
	ok := true
	if j.quick != nil && j.quick.of == j.head.id { // nobody has published while the lock was waited for
		quick = j.quick.input
	} else {
		quick, ok = t.quickInput(j.z, nil)
	}
	p.took(StageParse, begun)
	if ok && p.upToDate(j, quick) {
		j.res.Action, j.res.Serial, j.res.Next = Unchanged, j.head.serial, j.head.header.Next
		j.input = quick // it may be found out only now that the server cannot load it
		if p.o.DryRun {
			return
		}
		j.settle(t)
		return
	}
	p.o.Log.Debug("read the sources", "zone", j.z.Name)
	var c compiled
	wait := aside(func() error {
		begun := p.clock()
		c.src = t.loadSources(j.z)
		p.took(StageParse, begun)
		begun = p.clock()
		c.zone, c.faults = t.compileSources(j.z, c.src)
		p.took(StageCompile, begun)
		return nil
	})
	p.readBack(j)
	wait()
	if c.src.absent {
		p.keepUp(ctx, j)
		return
	}
	candidate := p.candidate(j, c)
	if candidate == nil {
		p.o.Log.Debug("nothing to publish", "zone", j.z.Name, "action", j.res.Action)
		return
	}
	p.o.Log.Debug("compiled", "zone", j.z.Name, "records", candidate.Records().Len(), "last-good", j.held != "")
	p.publish(ctx, j, candidate)
}

// upToDate is the cheap answer: fragments and first lines only.
func (p *pass) upToDate(j *job, quick [sha256.Size]byte) bool {
	h, s := j.head, j.state
	sameInput := h.header.Input == quick || s.SameInput == hex.EncodeToString(quick[:])
	due := !h.header.Next.IsZero() && !j.now.Before(h.header.Next)
	clockBack := j.now.Before(s.Published.Add(-guard.ClockBack))
	return h.err == nil && sameInput && !due && !clockBack && h.id == s.File && h.serial == s.Serial &&
		s.FailedInput == "" && p.mounted == nil && p.tree.unsignedID(j.z.Name) == s.Unsigned
}

// settle asks for a confirmation if the published serial has none yet.
// Refusals and approvals of inputs that are gone do not wait for their return.
func (j *job) settle(t *Tree) {
	s := j.state
	s.clear("input-rejected", "guard", "keys", "build-failed", "not-mounted", "load-failed")
	s.Refused, s.Approved, s.Faults = nil, nil, s.Accepted
	j.res.Confirmed = s.Confirmed
	j.reload = !s.Confirmed || !t.keptGood(j)
}

// keptGood reports whether last-good/ZONE is a copy of the confirmed file.
func (t *Tree) keptGood(j *job) bool {
	return j.state.GoodOf == j.state.File && j.state.Good == fileID(t.lastGoodPath(j.z.Name))
}

// readBack loads what is published. Where signed/ZONE is gone or was changed, the
// last confirmed copy takes its place, as it is: a name server that is started
// now must find its zone, whatever else is wrong. A file that was changed may have
// been served, so its successor gets a serial of its own.
func (p *pass) readBack(j *job) {
	path, good := p.tree.PublishedPath(j.z.Name), p.tree.lastGoodPath(j.z.Name)
	if z, ok := p.tree.holding.recall(j.z.Name, path); ok {
		j.prev, j.prevIn, j.trusted, j.prevOK = z.prev, z.input, z.trusted, true
		return
	}
	var err error
	if j.prev, j.prevIn, err = p.tree.readPublished(j.z.Name, path); err == nil {
		j.prevOK = true
		return
	}
	if j.head.exists {
		j.state.raise("signed-damaged", err.Error(), j.now)
	}
	var why error
	if j.prev, j.prevIn, why = p.tree.readPublished(j.z.Name, good); why != nil {
		if j.head.exists || !errors.Is(why, fs.ErrNotExist) {
			p.o.Log.Warn("nothing that was published can be read back", "zone", j.z.Name, "because", err)
		}
		return
	}
	j.changed = j.head.exists
	if p.o.DryRun || p.isAhead(j, j.prev.Serial()) {
		return
	}
	p.o.Log.Warn("put the last confirmed copy back", "zone", j.z.Name, "because", err)
	if err := durable.Copy(good, path); err != nil {
		p.o.Log.Warn("put the last confirmed copy back", "zone", j.z.Name, "err", err)
		return
	}
	j.head, j.prevOK = p.tree.readHead(j.z.Name), true
}

// isAhead reports whether a serial ahead of the last good zone's was published, or
// is served: then that zone would be a step back.
func (p *pass) isAhead(j *job, good uint32) bool {
	if j.state.Serial != 0 {
		return j.state.Serial != good
	}
	if v, ok := p.tree.rememberedSerial(j.z.Name); ok && ahead(v, good) {
		return true
	}
	v, ok := p.served(p.ctx, j.z.Name)
	return ok && v != good
}

// compiled is what became of the sources of a zone.
type compiled struct {
	zone   *zone.Zone
	src    *sources
	faults diag.List
}

// candidate is the compiled sources, or, where those cannot be taken, the last
// good records with the challenges of now: certificates are renewed whatever became of
// the author's files.
func (p *pass) candidate(j *job, c compiled) *zone.Zone {
	z, src, faults := c.zone, c.src, c.faults
	j.input = src.input
	j.res.Diagnostics, j.res.compiled = faults, true
	seen := faultDigest(faults)
	j.res.FaultsNew = seen != j.state.Faults
	j.state.Faults = seen

	inputHex := hex.EncodeToString(j.input[:])
	j.state.clear("not-mounted", "input-rejected", "load-failed", "guard")
	j.state.Refused = nil // what is refused is what was refused of this input
	switch {
	case p.mounted != nil:
		j.res.Kept = p.mounted.Error()
		j.hold("not-mounted", p.mounted.Error())
	case z == nil:
		j.res.Action = Rejected
		j.hold("input-rejected", firstError(faults))
	case j.state.FailedInput == inputHex:
		j.res.Kept = "the name server could not load this input: it waits for another"
		j.hold("load-failed", j.res.Kept)
	default:
		j.state.FailedInput = ""
		if refused := p.preCheck(j, z, src); len(refused) > 0 {
			p.refuse(j, z, refused)
			break
		}
		j.host, j.faults = src.hostRecords, seen
		return z
	}
	if j.res.Action == "" {
		j.res.Action = Rejected
	}
	if j.prev == nil {
		return nil // nothing was ever published: there is nothing to keep up
	}
	last, err := j.prev.Zone()
	if err != nil {
		j.fail("build-failed", err)
		return nil
	}
	if j.state.FailedInput != "" { // nobody knows whether it was a challenge
		return last
	}
	return p.graft(j, last)
}

func firstError(l diag.List) string {
	i := slices.IndexFunc(l, func(d diag.Diagnostic) bool { return d.Severity == diag.Error })
	if i < 0 {
		return "the input has faults"
	}
	return l[i].String()
}

func faultDigest(l diag.List) string {
	if len(l) == 0 {
		return ""
	}
	h := sha256.New()
	for _, d := range l {
		fmt.Fprintln(h, d)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
