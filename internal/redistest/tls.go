package redistest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// NewTLSProxy starts a TLS proxy in front of a plain server, with a self-signed certificate for
// 127.0.0.1, and returns its address. The server needs no TLS support. It ends with the test.
func NewTLSProxy(tb testing.TB, target string) string {
	tb.Helper()
	certificate, err := selfSigned()
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	plain, err := LaunchProxy(target, 0) // it can be cut
	if err != nil {
		tb.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { forward(tls.Server(client, config), plain.Addr) })
		}
	})
	tb.Cleanup(func() {
		_ = listener.Close()
		plain.Close()
		all.Wait()
	})
	return listener.Addr().String()
}

// forward copies the client's bytes, and their end, until the server closes the connection.
func forward(client net.Conn, target string) {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	var sending sync.WaitGroup
	sending.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(client, server)
	_ = client.Close()
	sending.Wait()
}

// StartTLS starts a server with TLS on its TLSAddr, with a self-signed certificate for 127.0.0.1.
// If the server binary has no TLS support, a proxy adds it. It ends with the test.
func StartTLS(tb testing.TB) *Server {
	tb.Helper()
	certificate, err := selfSigned()
	if err != nil {
		tb.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	pair := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	file := filepath.Join(tb.TempDir(), "server.pem")
	if err := os.WriteFile(file, pair, 0o600); err != nil {
		tb.Fatal(err)
	}
	if !speaksTLS(tb) {
		server := Start(tb)
		server.TLSAddr = NewTLSProxy(tb, server.Addr)
		return server
	}
	port := FreePort()
	server := Start(tb, "--tls-port", port, "--tls-cert-file", file, "--tls-key-file", file, "--tls-auth-clients", "no")
	server.TLSAddr = "127.0.0.1:" + port
	return server
}

// speaksTLS reports whether the server binary supports TLS.
func speaksTLS(tb testing.TB) bool {
	tb.Helper()
	known, err := Shared().Client(tb).ConfigGet(context.Background(), "tls-port").Result()
	if err != nil {
		tb.Fatal(err)
	}
	return len(known) > 0
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "redistest"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
