package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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
)

// FakeCA is an ACME server that does as it is told. It believes every signature
// and every name at once; that ours are right is for Pebble to say. Whoever changes
// a field while clients ask does so from within Change or Take.
type FakeCA struct {
	Server *httptest.Server
	Issuer *x509.Certificate // of the certificates
	Key    crypto.Signer     // of Issuer

	Change func(f *FakeCA, path string, body map[string]any)            // of a JSON answer before it is sent
	Take   func(f *FakeCA, w http.ResponseWriter, r *http.Request) bool // the whole answer; false = as usual
	Leaf   func(template *x509.Certificate)                             // of the certificate before it is signed
	Public func() crypto.PublicKey                                      // another key than the request's
	Chain  func(text string) string                                     // what is sent as the chain

	Names  []any  // identifiers of the order
	Status string // of the order
	Proved bool   // the client has answered a challenge

	t        testing.TB
	trust    string
	mu       sync.Mutex
	requests map[string]int
	csr      *x509.CertificateRequest
	serial   int64
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// NewFakeCA starts one.
func NewFakeCA(t testing.TB) *FakeCA {
	t.Helper()
	f := &FakeCA{t: t, requests: map[string]int{}, Status: "pending", Key: newKey(t), trust: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a fake CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	f.Issuer = Sign(t, template, template, f.Key.Public(), f.Key)
	f.Server = httptest.NewUnstartedServer(f)
	f.Server.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.Server.StartTLS()
	t.Cleanup(f.Server.Close)
	if err := os.WriteFile(f.trust, []byte(Block("CERTIFICATE", f.Server.Certificate().Raw)), 0o644); err != nil {
		t.Fatal(err)
	}
	return f
}

// Sign makes a certificate.
func Sign(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
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

// Block is one PEM block.
func Block(typ string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
}

// Directory is the URL that clients are given.
func (f *FakeCA) Directory() string { return f.Server.URL + "/dir" }

// TrustFile is the certificate that clients must trust to talk to it.
func (f *FakeCA) TrustFile() string { return f.trust }

// Log is empty: there is nothing to tell.
func (f *FakeCA) Log() string { return "" }

// Asked counts the requests for a path.
func (f *FakeCA) Asked(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[path]
}

// ServeHTTP is the whole CA.
func (f *FakeCA) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests[r.URL.Path]++
	n := f.requests[r.URL.Path]
	f.mu.Unlock()
	w.Header().Set("Replay-Nonce", "n"+strconv.Itoa(n)+strings.ReplaceAll(r.URL.Path, "/", "_"))
	if f.Take != nil && f.Take(f, w, r) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.Server.URL
	order := func() map[string]any {
		o := map[string]any{"status": f.Status, "identifiers": f.Names, "finalize": u + "/finalize"}
		var authz []any
		for i := range f.Names {
			authz = append(authz, u+"/authz/"+strconv.Itoa(i))
		}
		o["authorizations"] = authz
		if f.Status == "valid" {
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
	case "newNonce", "revokeCert":
		return
	case "newAccount":
		w.Header().Set("Location", u+"/account")
		body["status"] = "valid"
	case "newOrder":
		if f.Status == "valid" { // the one before is done
			f.Status, f.Proved = "pending", false
		}
		f.serial++
		f.Names, _ = payload["identifiers"].([]any)
		w.Header().Set("Location", u+"/order")
		status, body = 201, order()
	case "order":
		body = order()
	case "authz", "challenge":
		i, _ := strconv.Atoi(number)
		name := f.Names[i].(map[string]any)["value"].(string)
		challenge := map[string]any{"type": "dns-01", "url": u + "/challenge/" + number, "token": "token-" + number, "status": "pending"}
		if path == "challenge" {
			f.Proved, f.Status = true, "ready"
			body = challenge
			break
		}
		body["status"] = map[bool]string{true: "valid", false: "pending"}[f.Proved]
		body["identifier"] = map[string]any{"type": "dns", "value": strings.TrimPrefix(name, "*.")}
		if strings.HasPrefix(name, "*.") {
			body["wildcard"] = true
		}
		body["challenges"] = []any{map[string]any{"type": "http-01", "url": u + "/no", "token": "x", "status": "pending"}, challenge}
	case "finalize":
		der, _ := base64.RawURLEncoding.DecodeString(payload["csr"].(string))
		f.csr, _ = x509.ParseCertificateRequest(der)
		f.Status = "valid"
		body = order()
	case "cert":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		text := f.issue()
		if f.Chain != nil {
			text = f.Chain(text)
		}
		io.WriteString(w, text)
		return
	default:
		http.NotFound(w, r)
		return
	}
	if f.Change != nil {
		f.Change(f, r.URL.Path, body)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

func (f *FakeCA) issue() string {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1 + f.serial), DNSNames: f.csr.DNSNames, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90*24*time.Hour - time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if f.Leaf != nil {
		f.Leaf(template)
	}
	public := f.csr.PublicKey
	if f.Public != nil {
		public = f.Public()
	}
	return Block("CERTIFICATE", Sign(f.t, template, f.Issuer, public, f.Key).Raw) + Block("CERTIFICATE", f.Issuer.Raw)
}

// Refuse answers with a problem.
func Refuse(w http.ResponseWriter, status int, retryAfter, typ, detail string, subs ...any) bool {
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"type": "urn:ietf:params:acme:error:" + typ, "detail": detail, "subproblems": subs})
	return true
}

// At takes the answer to one path.
func At(path string, answer func(w http.ResponseWriter, r *http.Request)) func(*FakeCA, http.ResponseWriter, *http.Request) bool {
	return func(_ *FakeCA, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		answer(w, r)
		return true
	}
}

// Sent answers with a text.
func Sent(text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}
