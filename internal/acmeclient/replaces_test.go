package acmeclient

import (
	"errors"
	"net/http"
	"testing"

	"zonebuild/internal/lab"
)

// TestReplacesRefused: whatever a CA refuses an order for that names what it replaces, it
// is asked once more without, but for a CA that does not want to be asked now.
func TestReplacesRefused(t *testing.T) {
	for _, row := range []struct {
		name       string
		status     int
		typ, after string
		orders     int
		class      error
	}{
		{"of another account", 403, "unauthorized", "", 2, nil},
		{"unknown", 404, "malformed", "", 2, nil},
		{"replaced", 409, "alreadyReplaced", "", 2, nil},
		{"replaced, and be patient", 409, "alreadyReplaced", "3600", 2, nil},
		{"in words of its own", 400, "noSuchReplacement", "", 2, nil},
		{"no words at all", 400, "", "", 2, nil},
		{"too often", 429, "rateLimited", "3600", 1, ErrRateLimited},
		{"out of order for an hour", 503, "serverInternal", "3600", 1, ErrTemporary},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f, z := newFakeCA(t), newZone(t)
			c := register(t, f)
			request := Request{Name: "a", Identifiers: []string{"example.org"}, Key: p256(t)}
			got, err := c.Obtain(t.Context(), z, request)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Forget("a"); err != nil {
				t.Fatal(err)
			}
			orders := 0
			f.Take = func(f *fakeCA, w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/newOrder" {
					return false
				}
				orders++
				return orders == 1 && lab.Refuse(w, row.status, row.after, row.typ, "no")
			}
			request.Replaces = got.Chain[0]
			_, err = c.Obtain(t.Context(), z, request)
			if !errors.Is(err, row.class) || orders != row.orders {
				t.Errorf("%v after %d orders", err, orders)
			}
		})
	}
}
