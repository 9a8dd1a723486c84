package acmeclient

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"zonebuild/internal/lab"
)

type fakeCA = lab.FakeCA

func newFakeCA(t testing.TB) *fakeCA { return lab.NewFakeCA(t) }

func TestFakeCAIssues(t *testing.T) {
	f := newFakeCA(t)
	z := newZone(t)
	key := p256(t)
	f.Take = func(f *fakeCA, w http.ResponseWriter, r *http.Request) bool {
		if agent := r.UserAgent(); !strings.HasPrefix(agent, "test") {
			t.Errorf("%s %s: User-Agent %q", r.Method, r.URL, agent)
		}
		return false
	}
	got, err := register(t, f).Obtain(t.Context(), z, Request{Name: "a", Identifiers: []string{"example.org", "*.example.org"}, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	checkIssued(t, got, key, "example.org", "*.example.org")
	z.empty(t)
}

// TestOddCA: a CA that writes names twice or in upper case, or calls all that it sends a
// page, is odd and no more.
func TestOddCA(t *testing.T) {
	names := func(change func(names []any) []any) func(*fakeCA) {
		return func(f *fakeCA) {
			f.Change = func(_ *fakeCA, path string, b map[string]any) {
				if list, ok := b["identifiers"].([]any); ok {
					b["identifiers"] = change(list)
				}
			}
		}
	}
	for name, odd := range map[string]func(*fakeCA){
		"names twice": names(func(names []any) []any { return append(slices.Clone(names), names...) }),
		"upper case": names(func(names []any) (out []any) {
			for _, n := range names {
				out = append(out, map[string]any{"type": "dns", "value": strings.ToUpper(n.(map[string]any)["value"].(string))})
			}
			return out
		}),
		"pages": func(f *fakeCA) {
			f.Take = func(f *fakeCA, w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("Again") != "" {
					return false
				}
				r.Header.Set("Again", "yes")
				said := httptest.NewRecorder()
				f.ServeHTTP(said, r)
				maps.Copy(w.Header(), said.Header())
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(said.Code)
				w.Write(said.Body.Bytes())
				return true
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, z, key := newFakeCA(t), newZone(t), p256(t)
			odd(f)
			got, err := register(t, f).Obtain(t.Context(), z, Request{Name: "a", Identifiers: []string{"example.org", "*.example.org"}, Key: key})
			if err != nil {
				t.Fatal(err)
			}
			checkIssued(t, got, key, "example.org", "*.example.org")
			z.empty(t)
		})
	}
}

// A GET may be redirected where it was.
func TestRedirect(t *testing.T) {
	f := newFakeCA(t)
	f.Take = lab.At("/start", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/dir", http.StatusFound) })
	c := newClient(t, f, func(c *Config) { c.Directory = f.Server.URL + "/start" })
	if d, err := c.Directory(t.Context()); err != nil || d.Profiles["tlsserver"] != "for servers" {
		t.Errorf("%+v %v", d, err)
	}
}

// How long a CA asks to wait between two looks is bounded on both sides: the fourth
// look finds the certificate, after three short waits.
func TestPolling(t *testing.T) {
	for _, asked := range []string{"999999999999999999999", "86400", "Fri, 20 Nov 2099 12:30:00 GMT", "-1", "0", "soon"} {
		t.Run(asked, func(t *testing.T) {
			t.Parallel()
			f, z := newFakeCA(t), newZone(t)
			c := register(t, f)
			looks := 0
			f.Take = func(f *fakeCA, w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Retry-After", asked)
				return false
			}
			f.Change = func(f *fakeCA, path string, b map[string]any) {
				if path == "/order" && b["status"] == "valid" {
					if looks++; looks < 4 {
						b["status"] = "processing"
					}
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			started := time.Now()
			if _, err := c.Obtain(ctx, z, Request{Name: "a", Identifiers: []string{"example.org"}, Key: p256(t)}); err != nil || looks != 4 {
				t.Errorf("%v after %d looks", err, looks)
			}
			if took := time.Since(started); took < 3*c.limits.Poll {
				t.Errorf("it did not wait: %s", took)
			}
		})
	}
}
