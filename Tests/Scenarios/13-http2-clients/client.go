// A Workload API client on the gRPC library for Go, as Debian has it (grpc-go). Messages are raw bytes,
// so that nothing has to be generated.
//
//	client SOCKET fetch N           N times: connect, first message of FetchX509SVID, cancel, close
//	client SOCKET reuse N           the same N times on one connection
//	client SOCKET watch             a line per message, one when the stream ends, and again, until it is ended
//	client SOCKET unary             FetchJWTSVID
//	client SOCKET concurrent N M    N goroutines on one connection, M calls each
//	client SOCKET noheader          all calls without the security header
//	client SOCKET deadline N        N calls that have 1 ms, and a stream that has 300
//	client SOCKET big N             N times 60 KB and 200 KB on one connection, then an ordinary call
//	client SOCKET health            the health service
//
// Prints `code count` lines of what calls ended with, then `done`. Exit code 1: it did not go as it must.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	fetchX509 = "/SpiffeWorkloadAPI/FetchX509SVID"
	fetchJWT  = "/SpiffeWorkloadAPI/FetchJWTSVID"
	validate  = "/SpiffeWorkloadAPI/ValidateJWTSVID"
	check     = "/grpc.health.v1.Health/Check"
	patience  = 20 * time.Second
)

// raw passes messages through as they are: []byte out, *[]byte in.
type raw struct{}

func (raw) Marshal(v interface{}) ([]byte, error) { return v.([]byte), nil }
func (raw) Unmarshal(data []byte, v interface{}) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "proto" }

// field is a length-delimited protobuf field with a number below 16.
func field(number byte, content string) []byte {
	out := []byte{number<<3 | 2}
	size := len(content)
	for ; size > 127; size >>= 7 {
		out = append(out, byte(size)|0x80)
	}
	return append(append(out, byte(size)), content...)
}

func connect() *grpc.ClientConn {
	quick := grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, MaxDelay: 500 * time.Millisecond},
		MinConnectTimeout: 5 * time.Second,
	}
	conn, err := grpc.Dial("unix://"+os.Args[1], grpc.WithInsecure(), grpc.WithConnectParams(quick),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})))
	must(err == nil, "dial: %v", err)
	return conn
}

func must(holds bool, format string, values ...interface{}) {
	if !holds {
		fmt.Printf(format+"\n", values...)
		os.Exit(1)
	}
}

// within is a context for one call, with the security header.
func within(limit time.Duration) (context.Context, context.CancelFunc) {
	ctx := metadata.AppendToOutgoingContext(context.Background(), "workload.spiffe.io", "true")
	return context.WithTimeout(ctx, limit)
}

// read opens FetchX509SVID and hands out its messages until `use` wants no more, or the stream ends.
func read(ctx context.Context, conn *grpc.ClientConn, use func([]byte) bool, options ...grpc.CallOption) error {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, fetchX509, options...)
	if err == nil {
		err = stream.SendMsg([]byte{})
	}
	if err == nil {
		err = stream.CloseSend()
	}
	for err == nil {
		var message []byte
		if err = stream.RecvMsg(&message); err != nil {
			break
		}
		if !bytes.Contains(message, []byte("spiffe://")) {
			return status.Errorf(codes.DataLoss, "no SPIFFE ID in %d bytes", len(message))
		}
		if !use(message) {
			return nil
		}
	}
	return err
}

// first takes the first message of a stream and cancels it.
func first(conn *grpc.ClientConn) error {
	ctx, cancel := within(patience)
	defer cancel()
	return read(ctx, conn, func([]byte) bool { return false })
}

func unary(conn *grpc.ClientConn, method string, request []byte, limit time.Duration) ([]byte, error) {
	ctx, cancel := within(limit)
	defer cancel()
	var answer []byte
	err := conn.Invoke(ctx, method, request, &answer)
	return answer, err
}

// tally counts how calls ended.
type tally struct {
	sync.Mutex
	ends map[codes.Code]int
}

func (t *tally) add(err error) codes.Code {
	t.Lock()
	defer t.Unlock()
	code := status.Code(err)
	t.ends[code]++
	if code == codes.Unknown || code == codes.Internal || code == codes.DataLoss {
		fmt.Fprintln(os.Stderr, err) // nothing that a peer of good manners makes happen
	}
	return code
}

func (t *tally) print() {
	for code, count := range t.ends {
		fmt.Println(code, count)
	}
}

func number(index int) int {
	must(len(os.Args) > index, "an argument is missing")
	value, err := strconv.Atoi(os.Args[index])
	must(err == nil, "%v", err)
	return value
}

func main() {
	must(len(os.Args) > 2, "usage: client SOCKET MODE [NUMBER…]")
	ends := &tally{ends: map[codes.Code]int{}}
	conn := connect()
	switch os.Args[2] {
	case "fetch":
		for left := number(3); left > 0; left-- {
			fresh := connect()
			ends.add(first(fresh))
			fresh.Close()
		}
	case "reuse":
		for left := number(3); left > 0; left-- {
			ends.add(first(conn))
		}
	case "watch":
		for {
			ctx, cancel := within(time.Hour)
			err := read(ctx, conn, func(message []byte) bool {
				fmt.Println("message", len(message))
				return true
			}, grpc.WaitForReady(true))
			cancel()
			fmt.Println("end", status.Code(err), status.Convert(err).Message())
			time.Sleep(100 * time.Millisecond)
		}
	case "unary":
		answer, err := unary(conn, fetchJWT, field(1, "aud"), patience)
		ends.add(err)
		must(err != nil || bytes.Contains(answer, []byte("spiffe://")), "no SPIFFE ID in %q", answer)
	case "concurrent":
		var group sync.WaitGroup
		for left := number(3); left > 0; left-- {
			group.Add(1)
			go func(index int) {
				defer group.Done()
				for round := number(4); round > 0; round-- {
					switch (index + round) % 3 {
					case 0:
						ends.add(first(conn))
					case 1:
						_, err := unary(conn, check, []byte{}, patience)
						ends.add(err)
					default:
						_, err := unary(conn, fetchJWT, field(1, "aud"), patience)
						ends.add(err)
					}
				}
			}(left)
		}
		group.Wait()
	case "noheader":
		for _, method := range []string{fetchX509, fetchJWT, validate} {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			var answer []byte
			ends.add(conn.Invoke(ctx, method, field(1, "aud"), &answer))
			cancel()
		}
	case "deadline":
		must(first(conn) == nil, "no first message")
		for left := number(3); left > 0; left-- {
			_, err := unary(conn, fetchJWT, field(1, "aud"), time.Millisecond)
			ends.add(err)
		}
		ctx, cancel := within(300 * time.Millisecond)
		defer cancel()
		err := read(ctx, conn, func([]byte) bool { return true })
		must(status.Code(err) == codes.DeadlineExceeded, "the stream ended with %v", err)
		must(first(conn) == nil, "the connection is of no use after it")
	case "big":
		for left := number(3); left > 0; left-- {
			for _, size := range []int{60_000, 200_000} {
				request := append(field(1, "aud"), field(2, string(bytes.Repeat([]byte("x"), size)))...)
				_, err := unary(conn, validate, request, patience)
				ends.add(err)
			}
		}
		ends.add(first(conn))
	case "health":
		answer, err := unary(conn, check, []byte{}, patience)
		ends.add(err)
		must(bytes.Equal(answer, []byte{8, 1}), "not SERVING: %v", answer)
	default:
		must(false, "unknown mode %s", os.Args[2])
	}
	conn.Close()
	ends.print()
	fmt.Println("done")
}
