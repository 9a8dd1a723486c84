package lab

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"net/http"
	"strings"
	"time"
)

// Hostility is one thing that a CA can do wrong.
type Hostility struct {
	Name string
	Set  func(*FakeCA)
	Want string // what a client must say of it; HOST is that of the CA
}

// Play makes the CA do it, and gives what is to be said of it.
func (f *FakeCA) Play(h Hostility) (want string) {
	h.Set(f)
	host := strings.TrimPrefix(f.Server.URL, "https://")
	take, change := f.Take, f.Change
	f.Take = func(f *FakeCA, w http.ResponseWriter, r *http.Request) bool {
		return take != nil && take(f, &rehosted{w, host}, r)
	}
	f.Change = func(f *FakeCA, path string, b map[string]any) {
		if change != nil {
			change(f, path, b)
		}
		for k, v := range b {
			if s, ok := v.(string); ok {
				b[k] = strings.ReplaceAll(s, "HOST", host)
			}
		}
	}
	return strings.ReplaceAll(h.Want, "HOST", host)
}

// rehosted writes Location headers with the host of this CA.
type rehosted struct {
	http.ResponseWriter
	host string
}

func (w *rehosted) WriteHeader(status int) {
	if l := w.Header().Get("Location"); l != "" {
		w.Header().Set("Location", strings.ReplaceAll(l, "HOST", w.host))
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *rehosted) Flush() { w.ResponseWriter.(http.Flusher).Flush() }

func day(year int) time.Time { return time.Date(2000+year, 1, 1, 0, 0, 0, 0, time.UTC) }

// Hostilities are what a CA can do wrong in an order for example.org with the
// profile tlsserver, and never finishes within the client's patience.
func Hostilities() []Hostility {
	const malformed = "malformed by the CA: "
	ordered := func(path string, change func(body map[string]any)) func(*FakeCA) {
		return func(f *FakeCA) {
			f.Change = func(_ *FakeCA, p string, body map[string]any) {
				if p == path {
					change(body)
				}
			}
		}
	}
	answered := func(path string, answer func(http.ResponseWriter, *http.Request)) func(*FakeCA) {
		return func(f *FakeCA) { f.Take = At(path, answer) }
	}
	leaf := func(change func(*x509.Certificate)) func(*FakeCA) { return func(f *FakeCA) { f.Leaf = change } }
	chain := func(change func(string) string) func(*FakeCA) { return func(f *FakeCA) { f.Chain = change } }
	token := func(token string) func(*FakeCA) {
		return ordered("/authz/0", func(b map[string]any) { b["challenges"].([]any)[1].(map[string]any)["token"] = token })
	}
	large := func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"x":"`+strings.Repeat("x", 10<<20)+`"}`)
	}
	stall := func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	drip := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for r.Context().Err() == nil {
			io.WriteString(w, " ")
			w.(http.Flusher).Flush()
			<-time.After(time.Millisecond)
		}
	}
	endless := func(f *FakeCA) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			for range 1024 {
				if _, err := io.WriteString(w, strings.Repeat("x", 64<<10)); err != nil {
					return
				}
			}
			f.t.Error("the client reads 64 MB of an answer")
		}
	}
	to := func(u string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, u, http.StatusFound) }
	}
	const fetch, refused = "fetch the certificate: " + malformed, "the certificate is not what was ordered: "
	return []Hostility{
		// The order.
		{"no Location of the order", func(f *FakeCA) {
			f.Take = func(f *FakeCA, w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/newOrder" {
					w.WriteHeader(201)
					io.WriteString(w, `{"status":"pending","identifiers":[{"type":"dns","value":"example.org"}]}`)
				}
				return r.URL.Path == "/newOrder"
			}
		}, "order a certificate: " + malformed + "no Location of the order"},
		{"order for another name", ordered("/newOrder", func(b map[string]any) {
			b["identifiers"] = []any{map[string]any{"type": "dns", "value": "example.net"}}
		}), "order a certificate: " + malformed + "the order is not what was asked for: it is for example.net too"},
		{"order for nothing", ordered("/order", func(b map[string]any) { b["identifiers"] = nil }),
			"look at the order: " + malformed + "the order is not what was asked for: it is not for example.org"},
		{"order for an address", ordered("/newOrder", func(b map[string]any) {
			b["identifiers"] = []any{map[string]any{"type": "ip\x1b[2J", "value": "example.org"}}
		}), "order a certificate: " + malformed + `an order for a "ip\\x1b[2J"`},
		{"status of another world", ordered("/order", func(b map[string]any) { b["status"] = "maybe\n" }),
			"look at the order: " + malformed + `it is "maybe\\n"`},
		{"order is invalid", ordered("/order", func(b map[string]any) {
			b["status"], b["error"] = "invalid", map[string]any{"type": "urn:ietf:params:acme:error:" + "caa", "detail": "CAA for\r\nexample.org"}
		}), `look at the order: forbidden by CAA (caa): CAA for\r\nexample.org`},
		{"finalize elsewhere", ordered("/order", func(b map[string]any) { b["finalize"] = "https://other.example/f" }),
			"finalize the order: finalize URL: " + malformed + "it sends us to another host, other.example"},
		{"finalize nowhere", ordered("/order", func(b map[string]any) { delete(b, "finalize") }),
			"finalize the order: " + malformed + "no finalize URL"},
		{"certificate over http", ordered("/order", func(b map[string]any) {
			if b["status"] == "valid" {
				b["certificate"] = "http://HOST/cert"
			}
		}), "look at the order: certificate URL: " + malformed + `it sends us to "http", not to https`},
		{"no certificate", ordered("/order", func(b map[string]any) { delete(b, "certificate") }),
			"look at the order: " + malformed + "no certificate URL"},
		{"never issued", ordered("/order", func(b map[string]any) {
			if b["status"] == "valid" {
				b["status"] = "processing"
			}
		}), `look at the order: failed for the moment: it is still "processing" after 100ms`},
		{"ready for ever", ordered("/order", func(b map[string]any) {
			if b["status"] == "valid" {
				b["status"] = "ready"
			}
		}), `look at the order: failed for the moment: it is still "ready" after 100ms`},
		{"never validated", ordered("/authz/0", func(b map[string]any) { b["status"] = "pending" }),
			`failed for the moment: the authorization of example.org is still "pending" after 100ms`},
		{"pending for ever", ordered("/order", func(b map[string]any) { b["status"] = "pending" }),
			`look at the order: failed for the moment: it is still "pending" after 100ms`},
		{"another profile", ordered("/newOrder", func(b map[string]any) { b["profile"] = "tls\x1bclient" }),
			"order a certificate: " + malformed + `the order is not what was asked for: its profile is "tls\\x1bclient"`},
		// Authorizations.
		{"authorization elsewhere", ordered("/order", func(b map[string]any) { b["authorizations"] = []any{"https://[::1]/"} }),
			"read an authorization: authorization URL: " + malformed + "it sends us to another host, [::1]"},
		{"1000 authorizations", ordered("/order", func(b map[string]any) { b["authorizations"] = make([]any, 1000) }),
			"look at the order: " + malformed + "1000 authorizations for 1 names"},
		{"no authorization", ordered("/order", func(b map[string]any) { b["authorizations"] = nil }),
			"look at the order: " + malformed + "0 authorizations for 1 names"},
		{"authorization for another name", ordered("/authz/0", func(b map[string]any) { b["identifier"] = map[string]any{"type": "dns", "value": "evil.example\x00"} }),
			"read an authorization: " + malformed + `an authorization for evil.example\x00, which was not asked for`},
		{"no dns-01", ordered("/authz/0", func(b map[string]any) { b["challenges"] = b["challenges"].([]any)[:1] }),
			"read an authorization: " + malformed + "no dns-01 challenge for example.org"},
		{"token that is a path", token("../../../../etc/passwd"),
			"read an authorization: " + malformed + `the token for example.org is none: "../../../../etc/passwd"`},
		{"token with control characters", token("a\x1b]0;x\x07"),
			"read an authorization: " + malformed + `the token for example.org is none: "a\\x1b]0;x\\a"`},
		{"no token", token(""), "read an authorization: " + malformed + `the token for example.org is none: ""`},
		{"long token", token(strings.Repeat("a", 256)), "read an authorization: " + malformed + `the token for example.org is none: "` + strings.Repeat("a", 256) + `"`},
		{"challenge elsewhere", ordered("/authz/0", func(b map[string]any) {
			b["challenges"].([]any)[1].(map[string]any)["url"] = "http://169.254.169.254/latest"
		}), "answer the challenge of example.org: " + malformed + `it sends us to "http", not to https`},
		{"challenge is refused", answered("/challenge/0", func(w http.ResponseWriter, r *http.Request) { Refuse(w, 400, "", "malformed", "no") }),
			"answer the challenge of example.org: refused by the CA (malformed): no"},
		{"validation fails", func(f *FakeCA) {
			f.Change = func(f *FakeCA, path string, b map[string]any) {
				if path == "/authz/0" && f.Proved {
					b["status"] = "invalid"
					b["challenges"] = []any{map[string]any{"type": "dns-01", "status": "invalid", "error": map[string]any{"type": "urn:ietf:params:acme:error:" + "dns", "detail": "NXDOMAIN \x1b[31m"}}}
				}
			}
		}, `example.org: validation failed (dns): NXDOMAIN \x1b[31m`},
		// The certificate.
		{"foreign key", func(f *FakeCA) { f.Public = func() crypto.PublicKey { return f.Key.Public() } }, fetch + refused + "it is for another key"},
		{"extra name", leaf(func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "evil.example") }), fetch + refused + "it is for evil.example too"},
		{"missing name", leaf(func(c *x509.Certificate) { c.DNSNames = nil }), fetch + refused + "it is not for example.org"},
		{"an address", leaf(func(c *x509.Certificate) { c.IPAddresses = append(c.IPAddresses, []byte{192, 0, 2, 1}) }), fetch + refused + "it is for more than DNS names"},
		{"another common name", leaf(func(c *x509.Certificate) { c.Subject.CommonName = "evil.example" }), fetch + refused + "its common name is evil.example"},
		{"unknown critical extension", leaf(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		}), fetch + refused + "it has a critical extension that nobody knows"},
		{"another issuer's name", func(f *FakeCA) {
			f.Chain = func(s string) string {
				renamed := *f.Issuer
				renamed.Subject, renamed.RawSubject = pkix.Name{CommonName: "another"}, nil
				head, _, _ := strings.Cut(s, "-----END CERTIFICATE-----\n")
				return head + "-----END CERTIFICATE-----\n" + Block("CERTIFICATE", Sign(f.t, &renamed, &renamed, f.Key.Public(), f.Key).Raw)
			}
		}, fetch + "certificate 2 of the chain did not sign the one before it"},
		{"an issuer's name without its key", func(f *FakeCA) {
			f.Chain = func(s string) string {
				other := newKey(f.t)
				template := *f.Issuer
				template.PublicKey, template.SubjectKeyId, template.AuthorityKeyId = nil, nil, nil
				head, _, _ := strings.Cut(s, "-----END CERTIFICATE-----\n")
				return head + "-----END CERTIFICATE-----\n" + Block("CERTIFICATE", Sign(f.t, &template, &template, other.Public(), other).Raw)
			}
		}, fetch + "certificate 2 of the chain did not sign the one before it"},
		{"a CA", leaf(func(c *x509.Certificate) { c.IsCA = true }), fetch + refused + "it is a CA's"},
		{"for clients", leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), fetch + refused + "it is not for servers"},
		{"expired", leaf(func(c *x509.Certificate) { c.NotAfter = day(1) }), fetch + refused + "it expired at 2001-01-01T00:00:00Z"},
		{"of the future", leaf(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = day(90), day(91) }), fetch + refused + "it is not valid before 2090-01-01T00:00:00Z"},
		{"an old one", leaf(func(c *x509.Certificate) { c.NotBefore = day(10) }), fetch + refused + "it is an old one, of 2010-01-01T00:00:00Z"},
		{"for ever", leaf(func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(5000 * 24 * time.Hour) }), fetch + refused + "it is valid for 5000 days, more than the 2000 of max-lifetime"},
		{"junk before the chain", chain(func(s string) string { return "hello\n" + s }), fetch + "the chain holds something else than PEM blocks"},
		{"junk in the chain", chain(func(s string) string { return strings.Replace(s, "-----\n-----", "-----\n<b>\n-----", 1) }), fetch + "the chain holds something else than PEM blocks"},
		{"a private key in the chain", chain(func(s string) string { return s + Block("EC PRIVATE KEY", []byte("0")) }), fetch + `the chain holds a PEM block "EC PRIVATE KEY"`},
		{"a broken block", chain(func(s string) string { return strings.Replace(s, "-----END", "-----AND", 1) }), fetch + "the chain holds a broken PEM block"},
		{"no certificate in a block", chain(func(s string) string { return Block("CERTIFICATE", []byte("0")) + s }), fetch + "certificate 1: malformed certificate"},
		{"100 certificates", func(f *FakeCA) {
			f.Chain = func(s string) string { return s + strings.Repeat(Block("CERTIFICATE", f.Issuer.Raw), 98) }
		}, fetch + "a chain of more than 10 certificates"},
		{"a long chain", chain(func(s string) string { return s + strings.Repeat("\n", (256<<10)) }), fetch + "a chain of more than 262144 octets"},
		{"a chain of another", func(f *FakeCA) {
			f.Chain = func(s string) string {
				head, _, _ := strings.Cut(s, "-----END CERTIFICATE-----\n")
				return head + "-----END CERTIFICATE-----\n" + Block("CERTIFICATE", f.Server.Certificate().Raw)
			}
		}, fetch + "certificate 2 of the chain did not sign the one before it"},
		{"empty chain", chain(func(string) string { return "\n" }), fetch + "a chain without a certificate"},
		// Exchanges.
		{"10 MB directory", answered("/dir", large), "find the account: read the CA's directory: " + malformed + "an answer of more than 1048576 octets"},
		{"10 MB order", answered("/order", large), "look at the order: " + malformed + "an answer of more than 1048576 octets"},
		{"10 MB problem", answered("/order", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(400); large(w, r) }), "look at the order: " + malformed + "an answer of more than 1048576 octets"},
		{"10 MB chain", chain(func(s string) string { return strings.Repeat(s, 10<<20/len(s)) }), "fetch the certificate: " + malformed + "an answer of more than 1048576 octets"},
		{"10 MB header", answered("/order", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", 10<<20)) }),
			"look at the order: failed for the moment: net/http: HTTP/1.x transport connection broken: net/http: server response headers exceeded 65536 bytes; aborted"},
		{"endless answer", func(f *FakeCA) { f.Take = At("/order", endless(f)) }, "look at the order: " + malformed + "an answer of more than 1048576 octets"},
		{"no answer", answered("/order", stall), "look at the order: failed for the moment: no whole answer in time"},
		{"slow answer", answered("/order", drip), "look at the order: failed for the moment: no whole answer in time"},
		{"slow directory", answered("/dir", drip), "find the account: read the CA's directory: failed for the moment: no whole answer in time"},
		{"broken connection", answered("/order", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), "look at the order: failed for the moment: EOF"},
		{"redirect to http", answered("/dir", to("http://HOST/dir")), "find the account: read the CA's directory: " + malformed + "redirect to http://HOST"},
		{"redirect to another host", answered("/dir", to("https://evil.example/dir")), "find the account: read the CA's directory: " + malformed + "redirect to https://evil.example"},
		{"redirect for ever", answered("/dir", to("/dir")), "find the account: read the CA's directory: " + malformed + "more than 3 redirects"},
		{"redirect of a signed request", answered("/order", to("/dir")), "look at the order: " + malformed + "a signed request was redirected"},
		{"directory over http", ordered("/dir", func(b map[string]any) { b["newOrder"] = "http://HOST/newOrder" }), "find the account: read the CA's directory: newOrder: " + malformed + `it sends us to "http", not to https`},
		{"directory without newNonce", ordered("/dir", func(b map[string]any) { delete(b, "newNonce") }), "find the account: read the CA's directory: " + malformed + "no newNonce"},
		{"directory with a password", ordered("/dir", func(b map[string]any) { b["newOrder"] = "https://a:b@HOST/" }), "find the account: read the CA's directory: newOrder: " + malformed + "a URL with a password"},
		{"no nonce", func(f *FakeCA) {
			f.Take = func(f *FakeCA, w http.ResponseWriter, r *http.Request) bool {
				w.Header().Del("Replay-Nonce")
				return false
			}
		}, "find the account: " + malformed + "nonce not found"},
		{"nonces are never right", answered("/newOrder", func(w http.ResponseWriter, r *http.Request) { Refuse(w, 400, "", "badNonce", "again") }),
			"order a certificate: failed for the moment (badNonce): again"},
		{"directory is no JSON", answered("/dir", Sent("<html>")), "find the account: read the CA's directory: " + malformed + "invalid character '<' looking for beginning of value"},
		{"account is no JSON", answered("/newAccount", Sent("\x1b")), "find the account: " + malformed + `invalid account response: invalid character '\x1b' looking for beginning of value`},
		{"order is no JSON", answered("/newOrder", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "https://"+r.Host+"/order")
			io.WriteString(w, "[")
		}), "order a certificate: " + malformed + "unexpected end of JSON input"},
		{"order is no object", answered("/order", Sent("[]")), "look at the order: " + malformed + "error reading order: json: cannot unmarshal array into Go value of type struct { Status string; Expires time.Time; Identifiers []acme.wireAuthzID; NotBefore time.Time; NotAfter time.Time; Error *acme.wireError; Authorizations []string; Finalize string; Certificate string; Profile string }"},
		{"authorization is nothing", answered("/authz/0", Sent("")), "read an authorization: " + malformed + "invalid response: EOF"},
		{"account nowhere", answered("/newAccount", Sent(`{"status":"valid"}`)), "find the account: " + malformed + "no account URL"},
		{"account is deactivated", ordered("/newAccount", func(b map[string]any) { b["status"] = "deactivated" }), `find the account: unauthorized: the account is "deactivated"`},
		// Refusals.
		{"problem with control characters", answered("/newOrder", func(w http.ResponseWriter, r *http.Request) {
			Refuse(w, 403, "", "rejectedIdentifier", "no\x1b[1m\nyes", map[string]any{"type": "urn:ietf:params:acme:error:" + "caa", "detail": "\u202eCAA", "identifier": map[string]any{"type": "dns", "value": "example.org\n"}})
		}), `order a certificate: identifier rejected (rejectedIdentifier): no\x1b[1m\nyes; example.org\n: forbidden by CAA (caa): \u202eCAA`},
		{"compound problem", answered("/newOrder", func(w http.ResponseWriter, r *http.Request) {
			Refuse(w, 403, "", "compound", "several", map[string]any{"type": "urn:ietf:params:acme:error:" + "caa", "detail": "CAA", "identifier": map[string]any{"type": "dns", "value": "example.org"}})
		}), `order a certificate: forbidden by CAA (compound): several; example.org: forbidden by CAA (caa): CAA`},
		{"problem that is a page", answered("/newOrder", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "<h1>\n"+strings.Repeat("x", 9999), http.StatusTeapot)
		}),
			`order a certificate: refused by the CA (status 418): <h1>\n` + strings.Repeat("x", 495) + "..."},
	}
}
