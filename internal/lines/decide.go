package lines

import (
	"fmt"
	"slices"
	"time"

	"zonebuild/internal/acmeclient"
	"zonebuild/internal/config"
)

// Step is one thing that a line does.
type Step string

// Steps. Each is safe to be done again.
const (
	StepResume  Step = "resume"   // take home the certificate of an order that the CA has finished or may have
	StepMakeKey Step = "make-key" // make the next key and put its public half where the map of TLSA records finds it
	StepIssue   Step = "issue"    // for the next key: the key changes
	StepRenew   Step = "renew"    // for the live key
	StepAbandon Step = "abandon"  // give an order up that nobody wants any more
	StepLink    Step = "link"     // let the live generation's link lead to where its key is
	StepCombine Step = "combine"  // write the combined.pem that the live generation has not
	StepDeploy  Step = "deploy"   // run the hooks that are due
	StepProbe   Step = "probe"    // ask the services what they serve
)

// Params are the waits of a key change (RFC 7671 §8.1).
type Params struct {
	TTLs   int // k
	Margin time.Duration
}

// Word is what the operator said for this run alone.
type Word struct {
	Renew bool // whatever the time
	Break bool // use the next key now, whatever DNS says: DANE clients will refuse the service
	Now   bool // failures before do not put off the order

	Beyond bool // nor do too many orders for the same names
}

// Input is all that a decision depends on.
type Input struct {
	Line     config.Line
	Services []config.Service // of the line
	Files    Files
	State    State
	Order    *acmeclient.Order // that is not finished; nil: none
	RetryAt  time.Time         // no order before; zero: at once
	Full     Wait              // no new order before: there were too many; zero: at once
	Word     Word
	Fresh    bool // a certificate was stored in this run: no other is ordered
	Params   Params
	Wanted   Wanted
	Now      time.Time
}

// Plan is what a line does now, and what comes after.
type Plan struct {
	Steps []Due  // in this order; each may fail without harm to the others
	Waits []Wait // for what comes later
}

// Due is a step and why it is taken.
type Due struct {
	Step Step
	Why  string
}

// Wait is something that is not due yet.
type Wait struct {
	At  time.Time `json:"at,omitzero"` // zero: when something is seen, not at a time
	Why string    `json:"why"`
}

// Next is the earliest time at which something is due; zero: none is known.
func (p Plan) Next() (next time.Time) {
	for _, w := range p.Waits {
		if !w.At.IsZero() && (next.IsZero() || w.At.Before(next)) {
			next = w.At
		}
	}
	return next
}

// Decide says what a line does now. A key is used only when its gate is open or the
// operator said Break; while it is shut, the live certificate renews with its live
// key. A second change of keys waits until the first has come to all services.
func Decide(in Input) Plan {
	d := decision{Input: in}
	d.resume()
	if in.Files.Live == nil {
		d.first()
	} else {
		d.follow()
		d.spread()
		if l := d.Line; len(d.Services) == 0 && !l.NoDANE && (l.MaxKeyAge > 0 || !l.ReuseKey) {
			d.wait(time.Time{}, noServices)
		}
	}
	if d.Order != nil && !d.asked {
		d.add(StepAbandon, "an order is left over from a try, and no certificate is due")
	}
	return d.plan
}

type decision struct {
	Input
	plan  Plan
	asked bool // the CA is asked for something, now or when it may be
}

func (d *decision) add(s Step, why string) { d.plan.Steps = append(d.plan.Steps, Due{s, why}) }

func (d *decision) wait(at time.Time, why string) {
	if w := (Wait{at, why}); !slices.Contains(d.plan.Waits, w) {
		d.plan.Waits = append(d.plan.Waits, w)
	}
}

// order adds a step that asks the CA, unless it is to be left alone.
func (d *decision) order(s Step, why string) {
	d.asked = true
	switch {
	case d.Fresh && !d.Word.Break: // one certificate a run; a run that has one more to ask for comes soon
	case d.RetryAt.After(d.Now) && !d.Word.Now:
		d.wait(d.RetryAt, why+", but the last try failed")
	case d.Full.At.After(d.Now) && !d.Word.Now && s != StepResume:
		d.wait(d.Full.At, why+", but "+d.Full.Why)
	default:
		d.add(s, why)
	}
}

// makeKey adds the step, unless the disk is to be left alone.
func (d *decision) makeKey(why string) {
	if at := d.State.KeyRetry.until(d.Now); at.After(d.Now) && !d.Word.Now {
		d.wait(at, why+", but the last try failed")
	} else {
		d.add(StepMakeKey, why)
	}
}

// maxOrder is how long an order may take. What the CA does not hand out for a day is
// asked for anew; a CA forgets orders after some days anyway.
const maxOrder = 24 * time.Hour

// resume takes home what the CA may have issued already, before anything else is
// asked of it. An order for the next key passes the same gate as any use of it: it
// waits while that is shut, until the live certificate must be renewed. One that
// cannot be used is given up.
func (d *decision) resume() {
	if d.Order == nil || d.Order.Phase != acmeclient.PhaseFinalizing && d.Order.Phase != acmeclient.PhaseIssued {
		return
	}
	live := liveKey(d.Files)
	switch {
	case d.Now.Sub(d.Order.Created) > maxOrder:
		d.giveUp("an order has not come to an end for a day")
	case live != nil && d.Order.Key == live.ID && d.compromised():
		d.giveUp("an order is for a key that others have")
	case live != nil && d.Order.Key == live.ID:
		d.order(StepResume, "an order is not finished")
	case d.Files.Next == nil || d.Order.Key != d.Files.Next.ID:
		d.giveUp("an order is for a key that is not here")
	case d.mayUse(d.Files.Live == nil):
		d.order(StepResume, "an order is not finished")
	default:
		d.asked = true
		if d.Files.Live == nil {
			return
		}
		if due, why, _ := d.due(); due {
			d.giveUp("an order for the next key has to wait, but " + why)
		}
	}
}

func (d *decision) giveUp(why string) {
	d.add(StepAbandon, why)
	d.Order, d.asked = nil, false
}

// first is the way to the first certificate.
func (d *decision) first() {
	switch {
	case d.Files.NextFault != "":
		d.wait(time.Time{}, d.Files.NextFault)
		return
	case d.resuming():
		return
	case d.Files.Next == nil || d.Files.Wanted != nil:
		d.makeKey("there is no key yet")
		return
	case d.otherType():
		d.add(StepMakeKey, "the next key is not of key-type")
		return
	}
	if d.mayUse(true) {
		d.order(StepIssue, "there is no certificate yet")
	}
}

func (d *decision) resuming() bool {
	return slices.ContainsFunc(d.plan.Steps, func(s Due) bool { return s.Step == StepResume })
}

// mayUse asks the gate; what it waits for is noted.
func (d *decision) mayUse(first bool) bool {
	if d.Word.Break {
		return true
	}
	at, why := d.State.Gate.allows(d.Line, d.Files.Next, d.Services, d.Params, first)
	if at.IsZero() && why != "" || at.After(d.Now) {
		d.wait(at, "the next key waits: "+why)
		return false
	}
	return true
}

// follow is renewal and change of keys of a line that has a certificate.
func (d *decision) follow() {
	due, whyDue, at := d.due()
	change, whyChange := d.change(due)
	settled := d.settled()
	switch {
	case d.resuming():
		return
	case !settled && !d.Word.Break && !d.compromised(): // a key that others have need not come to anybody
		if change {
			d.wait(time.Time{}, whyChange+", but the live key has not come to all services yet")
		}
	case d.Files.NextFault != "":
		if change {
			d.wait(time.Time{}, whyChange+", but "+d.Files.NextFault)
		}
	case change && d.Line.CSR != "" && d.Files.Next == nil && d.Files.Wanted == nil:
		d.wait(time.Time{}, whyChange+", but there is no certificate request for another key (csr, next-csr)")
	case d.Files.Wanted != nil, d.Files.Next == nil && d.Line.CSR == "" && (d.Line.NextKey || change):
		d.makeKey("a next key is wanted")
		if d.Word.Break {
			return // the key comes first, and then this is asked again
		}
	case d.otherType():
		d.add(StepMakeKey, "the next key is not of key-type")
		if d.Word.Break {
			return
		}
	case d.Files.Next != nil && change && due && d.changeFailed():
		// A CA that does not take the next key must not let the live certificate
		// expire; the change is tried again behind the renewal.
	case d.Files.Next != nil && change:
		if d.mayUse(false) {
			d.order(StepIssue, whyChange)
			return
		}
	}
	switch {
	case !due:
		d.wait(at, whyDue)
	case d.compromised():
		d.wait(time.Time{}, whyDue+", but others have its key: it gets no certificate any more")
	case d.Files.Live.Key == nil:
		d.wait(time.Time{}, whyDue+", but "+keyFault(d.Files.Live, d.Line))
	default:
		d.order(StepRenew, whyDue)
	}
}

// spread brings the live certificate to those who serve it. Whatever they have is better
// than one that was revoked.
func (d *decision) spread() {
	if d.State.Revoked.Cert == d.Files.Live.ID() || d.compromised() {
		if !d.settled() {
			d.wait(time.Time{}, "the live certificate is revoked: no service is told of it")
		}
		return
	}
	if d.Files.Live.Astray {
		d.add(StepLink, "privkey.pem does not lead to where the key is")
	}
	if g := d.Files.Live; d.Line.Combined && !g.Combined && g.Key != nil {
		if d.RetryAt.After(d.Now) && !d.Word.Now {
			d.wait(d.RetryAt, "combined.pem is wanted, but the last try failed")
		} else {
			d.add(StepCombine, "combined.pem is wanted")
		}
	}
	if d.deployDue() {
		p := d.State.Deploy
		if p.Cert == d.Files.Live.ID() && p.failing(d.Line.Deploy) && believed(p.RetryAt, d.Now).After(d.Now) && !d.Word.Now {
			d.wait(p.RetryAt, "a deploy hook failed: "+p.Error)
		} else {
			d.add(StepDeploy, "the services are to be told")
		}
	}
	for _, s := range d.Services {
		switch {
		case d.State.Served[s.Name].Cert == d.Files.Live.ID():
		case s.ProbeOff:
			d.wait(time.Time{}, fmt.Sprintf("%s cannot be asked: acmehook live %s says that it serves the new certificate", s.Name, d.Line.Name))
		default:
			d.add(StepProbe, "the services are to be asked what they serve")
			return
		}
	}
}
