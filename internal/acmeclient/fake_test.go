package acmeclient

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto/rand"
)

// fakeCA is an ACME server that does as it is told. It believes every signature
// and every name at once; that ours are right is for Pebble to say.
type fakeCA struct {
	t      testing.TB
	server *httptest.Server
	trust  string
	issuer *x509.Certificate
	key    crypto.Signer

	change func(f *fakeCA, path string, body map[string]any)            // of a JSON answer before it is sent
	take   func(f *fakeCA, w http.ResponseWriter, r *http.Request) bool // the whole answer; false = as usual
	leaf   func(template *x509.Certificate)                             // of the certificate before it is signed
	public func() crypto.PublicKey                                      // another key than the request's
	chain  func(text string) string                                     // what is sent as the chain

	mu       sync.Mutex
	requests map[string]int
	csr      *x509.CertificateRequest
	names    []any
	status   string // of the order
	proved   bool
}

func newFakeCA(t testing.TB) *fakeCA {
	t.Helper()
	f := &fakeCA{t: t, requests: map[string]int{}, status: "pending", key: p256(t), trust: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a fake CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	f.issuer = sign(t, template, template, f.key.Public(), f.key)
	f.server = httptest.NewUnstartedServer(f)
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	if err := os.WriteFile(f.trust, []byte(block("CERTIFICATE", f.server.Certificate().Raw)), 0o644); err != nil {
		t.Fatal(err)
	}
	return f
}

func sign(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func block(typ string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
}

func (f *fakeCA) Directory() string { return f.server.URL + "/dir" }
func (f *fakeCA) TrustFile() string { return f.trust }
func (f *fakeCA) Log() string       { return "" }

func (f *fakeCA) asked(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[path]
}

func (f *fakeCA) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests[r.URL.Path]++
	n := f.requests[r.URL.Path]
	f.mu.Unlock()
	w.Header().Set("Replay-Nonce", "n"+strconv.Itoa(n)+strings.ReplaceAll(r.URL.Path, "/", "_"))
	if f.take != nil && f.take(f, w, r) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.server.URL
	order := func() map[string]any {
		o := map[string]any{"status": f.status, "identifiers": f.names, "finalize": u + "/finalize"}
		var authz []any
		for i := range f.names {
			authz = append(authz, u+"/authz/"+strconv.Itoa(i))
		}
		o["authorizations"] = authz
		if f.status == "valid" {
			o["certificate"] = u + "/cert"
		}
		return o
	}
	payload := map[string]any{}
	if r.Method == http.MethodPost {
		var jws struct{ Payload string }
		json.NewDecoder(r.Body).Decode(&jws)
		text, _ := base64.RawURLEncoding.DecodeString(jws.Payload)
		json.Unmarshal(text, &payload)
	}
	status, body := 200, map[string]any{}
	switch path, number, _ := strings.Cut(r.URL.Path[1:], "/"); path {
	case "dir":
		for _, name := range []string{"newNonce", "newAccount", "newOrder", "revokeCert", "keyChange"} {
			body[name] = u + "/" + name
		}
		body["meta"] = map[string]any{"profiles": map[string]any{"tlsserver": "for servers"}}
	case "newNonce":
		return
	case "newAccount":
		w.Header().Set("Location", u+"/account")
		body["status"] = "valid"
	case "newOrder":
		f.names, _ = payload["identifiers"].([]any)
		w.Header().Set("Location", u+"/order")
		status, body = 201, order()
	case "order":
		body = order()
	case "authz", "challenge":
		i, _ := strconv.Atoi(number)
		name := f.names[i].(map[string]any)["value"].(string)
		challenge := map[string]any{"type": "dns-01", "url": u + "/challenge/" + number, "token": "token-" + number, "status": "pending"}
		if path == "challenge" {
			f.proved, f.status = true, "ready"
			body = challenge
			break
		}
		body["status"] = map[bool]string{true: "valid", false: "pending"}[f.proved]
		body["identifier"] = map[string]any{"type": "dns", "value": strings.TrimPrefix(name, "*.")}
		if strings.HasPrefix(name, "*.") {
			body["wildcard"] = true
		}
		body["challenges"] = []any{map[string]any{"type": "http-01", "url": u + "/no", "token": "x", "status": "pending"}, challenge}
	case "finalize":
		der, _ := base64.RawURLEncoding.DecodeString(payload["csr"].(string))
		f.csr, _ = x509.ParseCertificateRequest(der)
		f.status = "valid"
		body = order()
	case "cert":
		w.Header().Set("Content-Type", chainType)
		text := f.issue()
		if f.chain != nil {
			text = f.chain(text)
		}
		io.WriteString(w, text)
		return
	default:
		http.NotFound(w, r)
		return
	}
	if f.change != nil {
		f.change(f, r.URL.Path, body)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

func (f *fakeCA) issue() string {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: f.csr.DNSNames, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if f.leaf != nil {
		f.leaf(template)
	}
	public := f.csr.PublicKey
	if f.public != nil {
		public = f.public()
	}
	return block("CERTIFICATE", sign(f.t, template, f.issuer, public, f.key).Raw) + block("CERTIFICATE", f.issuer.Raw)
}

// refuse answers with a problem.
func refuse(w http.ResponseWriter, status int, retryAfter, typ, detail string, subs ...any) bool {
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"type": acmeErrors + typ, "detail": detail, "subproblems": subs})
	return true
}

// at takes the answer to one path.
func at(path string, answer func(w http.ResponseWriter, r *http.Request)) func(*fakeCA, http.ResponseWriter, *http.Request) bool {
	return func(_ *fakeCA, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		answer(w, r)
		return true
	}
}

func sent(text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}

func TestFakeCAIssues(t *testing.T) {
	f := newFakeCA(t)
	z := newZone(t)
	key := p256(t)
	f.take = func(f *fakeCA, w http.ResponseWriter, r *http.Request) bool {
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

// A GET may be redirected where it was.
func TestRedirect(t *testing.T) {
	f := newFakeCA(t)
	f.take = at("/start", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/dir", http.StatusFound) })
	c := newClient(t, f, func(c *Config) { c.Directory = f.server.URL + "/start" })
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
			f.take = func(f *fakeCA, w http.ResponseWriter, r *http.Request) bool {
				w.Header().Set("Retry-After", asked)
				return false
			}
			f.change = func(f *fakeCA, path string, b map[string]any) {
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
