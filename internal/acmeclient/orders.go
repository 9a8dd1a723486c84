package acmeclient

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds on orders for one set of names. Let's Encrypt gives five certificates for the
// same names in a week, whatever they are asked for; who has spent them cannot get the
// one that is needed. What a certificate lives for bounds the week too, so that the bound
// never outlasts the certificates that it counts.
const (
	maxIssued    = 5
	issuedWindow = 7 * 24 * time.Hour
	maxOrders    = 10 // also those of which nothing came
	ordersWindow = time.Hour
	maxAhead     = time.Hour // a time that is further ahead is from before the clock was set back
)

// ErrTooManyOrders says that there were so many orders for a set of names that another one
// is not made, unless the caller wants it all the same (Request.Beyond).
var ErrTooManyOrders = errors.New("too many orders")

// Ordered is an order that the CA has heard of.
type Ordered struct {
	Set      string        `json:"set"` // of names at a CA
	At       time.Time     `json:"at"`
	Lifetime time.Duration `json:"lifetime,omitempty"` // of the certificate that came of it; 0 = none
}

// setOf names a set of names at a CA, in any order.
func setOf(directory string, names []string) string {
	sorted := make([]string, len(names))
	for i, n := range names {
		sorted[i] = strings.ToLower(n)
	}
	slices.Sort(sorted)
	sum := sha256.Sum256([]byte(directory + "\n" + strings.Join(sorted, "\n")))
	return hex.EncodeToString(sum[:16])
}

// Full says until when no certificate for the names should be ordered at a CA, because of
// those that were, and how many they are. The zero time is at once.
func (j Journal) Full(directory string, names []string, now time.Time) (until time.Time, why string) {
	set := setOf(directory, names)
	var all, issued []time.Time // oldest first
	window := issuedWindow
	for _, o := range j.Orders {
		if o.Set != set || o.At.Sub(now) > maxAhead {
			continue
		}
		all = append(all, o.At)
		if o.Lifetime > 0 {
			issued = append(issued, o.At)
			window = min(issuedWindow, o.Lifetime/2)
		}
	}
	for _, bound := range []struct {
		times  []time.Time
		most   int
		window time.Duration
		what   string
	}{{issued, maxIssued, window, "certificates"}, {all, maxOrders, ordersWindow, "orders"}} {
		if len(bound.times) < bound.most {
			continue
		}
		slices.SortFunc(bound.times, time.Time.Compare)
		first := bound.times[len(bound.times)-bound.most]
		if end := first.Add(bound.window); end.After(now) && end.After(until) {
			until, why = end, fmt.Sprintf("there were %d %s for these names since %s", bound.most, bound.what, stamp(first))
		}
	}
	return until, why
}

// ordered notes an order, or, with a lifetime, the certificate that came of it.
func (j *Journal) ordered(o *Order, lifetime time.Duration, now time.Time) {
	entry := Ordered{setOf(o.Directory, o.Identifiers), o.Created.UTC(), lifetime}
	j.Orders = slices.DeleteFunc(slices.Clone(j.Orders), func(e Ordered) bool {
		age := now.Sub(e.At)
		return e.Set == entry.Set && e.At.Equal(entry.At) || age > issuedWindow || age < -maxAhead || e.Lifetime == 0 && age > ordersWindow
	})
	j.Orders = append(j.Orders, entry)
	j.Orders = j.Orders[max(0, len(j.Orders)-keepAll):]
}

// noteOrder notes an order that the CA has heard of.
func (c *Client) noteOrder(o *Order) error {
	c.journal.Lock()
	defer c.journal.Unlock()
	j, err := c.Journal()
	if err != nil {
		return err
	}
	j.ordered(o, 0, c.now())
	return c.save(journalName, j)
}
