package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// uploaderNiceness is the niceness of clients that upload beside a measurement. Elsewhere
// they are on machines of their own; here they take from the servers what is left over.
const uploaderNiceness = 15

// uploads is what a process of uploaders does.
type uploads struct {
	endpoints []string
	clients   int
	sizeKiB   int
	duration  time.Duration
}

// uploadNews is one line of what such a process says: first that it begins, then what it
// measured.
type uploadNews struct {
	Begun  bool          `json:"begun,omitempty"`
	Result *objectResult `json:"result,omitempty"`
}

func uploadCommand() *cobra.Command {
	u := &uploads{}
	cmd := &cobra.Command{
		Use:    "upload",
		Short:  "upload objects for a while, for another bench",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return u.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&u.endpoints, "endpoints", nil, "addresses of the S3 ports")
	f.IntVar(&u.clients, "clients", 8, "clients, each one object at a time")
	f.IntVar(&u.sizeKiB, "size", 16<<10, "size of an object in KiB")
	f.DurationVar(&u.duration, "duration", 10*time.Second, "how long")
	return cmd
}

func (u *uploads) args() []string {
	return []string{
		"upload", "--endpoints", strings.Join(u.endpoints, ","), "--clients", strconv.Itoa(u.clients),
		"--size", strconv.Itoa(u.sizeKiB), "--duration", u.duration.String(),
	}
}

// run uploads, says what it measured, and removes what it put.
func (u *uploads) run(ctx context.Context, out io.Writer) error {
	if len(u.endpoints) == 0 || u.clients < 1 || u.sizeKiB < 1 {
		return errors.New("this needs an endpoint, 1 client and objects of 1 KiB at least")
	}
	size := u.sizeKiB << 10
	loader := &objectLoader{client: newObjectClient(u.endpoints, true), bodies: map[int][]body{size: newBodies(size)}}
	defer loader.client.close()
	say := json.NewEncoder(out)
	if err := say.Encode(uploadNews{Begun: true}); err != nil {
		return fmt.Errorf("say that it begins: %w", err)
	}
	res, clean, err := loader.run(ctx, objectLoad{Op: opPut, Clients: u.clients, Size: size}, u.duration, 1<<40)
	if err != nil {
		return err
	}
	if err := say.Encode(uploadNews{Result: &res}); err != nil {
		return errors.Join(fmt.Errorf("say the result: %w", err), clean(ctx))
	}
	return clean(ctx)
}

// beside runs the uploaders in a process of their own. begun is called when the uploads
// begin, measured when they are over and what they put is about to be removed.
func (u *uploads) beside(ctx context.Context, begun func(), measured func(objectResult)) (err error) {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, "nice", slices.Concat([]string{"-n", strconv.Itoa(uploaderNiceness), self}, u.args())...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start uploaders: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start uploaders: %w", err)
	}
	defer func() {
		if ended := cmd.Wait(); ended != nil {
			err = errors.Join(err, fmt.Errorf("uploaders: %w", ended))
		}
	}()
	said := json.NewDecoder(out)
	var news uploadNews
	if err := said.Decode(&news); err != nil || !news.Begun {
		return errors.Join(errors.New("the uploaders did not begin"), err, cmd.Process.Kill())
	}
	begun()
	news = uploadNews{}
	if err := said.Decode(&news); err != nil || news.Result == nil {
		return errors.Join(errors.New("the uploaders said no result"), err, cmd.Process.Kill())
	}
	measured(*news.Result)
	return nil
}
