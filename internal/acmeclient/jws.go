package acmeclient

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha512" // of ES384 and ES512
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"time"
)

// algorithm is the JWS algorithm of a key and its hash (RFC 7518 §3.1).
func algorithm(key crypto.PublicKey) (name string, hash crypto.Hash, known bool) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return "RS256", crypto.SHA256, true
	case *ecdsa.PublicKey:
		switch key.Curve.Params().Name {
		case "P-256":
			return "ES256", crypto.SHA256, true
		case "P-384":
			return "ES384", crypto.SHA384, true
		case "P-521":
			return "ES512", crypto.SHA512, true
		}
	}
	return "", 0, false
}

// signed is a request in the flattened JSON form (RFC 8555 §6.2), bound to its URL,
// its nonce and the account.
func signed(key crypto.Signer, account, nonce, url string, payload []byte) ([]byte, error) {
	alg, hash, known := algorithm(key.Public())
	if !known {
		return nil, errors.New("sign a request: the key is of no kind for an account")
	}
	header, err := json.Marshal(struct {
		Alg   string `json:"alg"`
		KID   string `json:"kid"`
		Nonce string `json:"nonce"`
		URL   string `json:"url"`
	}{alg, account, nonce, url})
	if err != nil {
		return nil, err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64(header) + "." + b64(payload)
	signature, err := crypto.SignMessage(key, rand.Reader, []byte(text), hash)
	if err != nil {
		return nil, fmt.Errorf("sign a request: %w", err)
	}
	if ec, ok := key.Public().(*ecdsa.PublicKey); ok {
		if signature, err = fixed(signature, (ec.Curve.Params().BitSize+7)/8); err != nil {
			return nil, err
		}
	}
	return json.Marshal(map[string]string{"protected": b64(header), "payload": b64(payload), "signature": b64(signature)})
}

// fixed turns an ECDSA signature from ASN.1 into two numbers of fixed size (RFC 7518 §3.4).
func fixed(signature []byte, size int) ([]byte, error) {
	var rs struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(signature, &rs); err != nil || len(rest) > 0 || rs.R.BitLen() > size*8 || rs.S.BitLen() > size*8 {
		return nil, errors.New("sign a request: the key's signature is none")
	}
	out := make([]byte, 2*size)
	rs.R.FillBytes(out[:size])
	rs.S.FillBytes(out[size:])
	return out, nil
}

// post sends a request in the account's name; no payload is a POST-as-GET (RFC 8555
// §6.3). Errors: a Problem for each status from 300 on.
func (c *Client) post(ctx context.Context, url string, payload any, accept string) (*reply, error) {
	account, err := c.Account(ctx)
	if err != nil {
		return nil, err
	}
	body := []byte{}
	if payload != nil {
		if body, err = json.Marshal(payload); err != nil {
			return nil, err
		}
	}
	nonce := ""
	for n := 1; ; n++ {
		if nonce == "" {
			if nonce, err = c.nonce(ctx); err != nil {
				return nil, err
			}
		}
		text, err := signed(c.key, account, nonce, url, body)
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/jose+json")
		if accept != "" {
			req.Header.Set("Accept", accept)
		}
		r, err := c.do(req)
		if err != nil {
			return nil, err
		}
		if r.status < 300 {
			return r, nil
		}
		p := r.problem()
		if r.status >= 500 || !strings.HasSuffix(strings.ToLower(p.ProblemType), ":badnonce") || n >= c.limits.Nonces {
			return nil, p
		}
		nonce = r.header.Get("Replay-Nonce")
		if err := sleep(ctx, time.Duration(n)*c.limits.NoncePause); err != nil {
			return nil, err
		}
	}
}

// nonce asks for one (RFC 8555 §7.2).
func (c *Client) nonce(ctx context.Context) (string, error) {
	d, err := c.discover(ctx)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, d.NewNonce, nil)
	if err != nil {
		return "", err
	}
	r, err := c.do(req)
	if err != nil {
		return "", err
	}
	nonce := r.header.Get("Replay-Nonce")
	switch {
	case nonce != "":
		return nonce, nil
	case r.status >= 300:
		return "", r.problem()
	}
	return "", fmt.Errorf("%w: no nonce", ErrMalformedByCA)
}

func (c *Client) do(req *http.Request) (*reply, error) {
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body) // the guard has bounded it
	if err != nil {
		return nil, err
	}
	return &reply{res.StatusCode, res.Header, body}, nil
}
