//go:build !unix

package awake

const supported = false

func (*conn) stayAwake([]byte) (int, error) { return 0, nil }
