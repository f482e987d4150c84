package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"chainfire/join"
)

// The ways to show a join.
const (
	progressAuto  = "auto"
	progressBar   = "bar"
	progressPlain = "plain"
	progressJSON  = "json"
)

// progressEvent is a step of a member on its way, and a line of --progress json.
type progressEvent struct {
	Time time.Time `json:"time"`
	// Step is one of check, reserve, seed, learn, promote, voter, and ready once
	// the member serves.
	Step string `json:"step"`
	// Text says what happens, for people.
	Text    string `json:"text,omitempty"`
	Cluster string `json:"cluster_id,omitempty"`
	Member  string `json:"member_id,omitempty"`
	// Done of Total bytes of the seed are here.
	Done  int64 `json:"done_bytes,omitempty"`
	Total int64 `json:"total_bytes,omitempty"`
	// Match and Commit are log indexes, while the member catches up.
	Match  uint64 `json:"match_index,omitempty"`
	Commit uint64 `json:"commit_index,omitempty"`
	// Client, Peer and S3 are the addresses that a ready member serves.
	Client    string `json:"client,omitempty"`
	ClientURL string `json:"client_url,omitempty"`
	Peer      string `json:"peer,omitempty"`
	S3        string `json:"s3,omitempty"`
	S3URL     string `json:"s3_url,omitempty"`
	// who comes before the line, where several members are shown.
	who string
}

// stepReady is the step that is this command's own.
const stepReady = "ready"

func newProgressEvent(e join.Event) progressEvent {
	p := progressEvent{
		Time: time.Now(), Step: string(e.Step), Text: e.Text,
		Done: e.Done, Total: e.Total, Match: e.Match, Commit: e.Commit,
	}
	if e.Cluster != 0 {
		p.Cluster = clusterID(e.Cluster)
	}
	if e.Member != 0 {
		p.Member = memberID(e.Member)
	}
	return p
}

// progress shows the steps of a join. It may be used from any goroutine.
type progress struct {
	mu  sync.Mutex
	out io.Writer
	// mode is bar, plain or json.
	mode  string
	now   func() time.Time
	bar   *progressbar.ProgressBar
	last  progressEvent
	shown time.Time
	// err is the first failure to write.
	err error
}

// newProgress makes a progress in one of the modes; auto is a bar on a terminal,
// and plain lines elsewhere.
func newProgress(mode string, out io.Writer) (*progress, error) {
	switch mode {
	case progressAuto:
		mode = progressPlain
		if isTerminal(out) {
			mode = progressBar
		}
	case progressBar, progressPlain, progressJSON:
	default:
		return nil, fmt.Errorf("--progress %q: choose auto, bar, plain or json", mode)
	}
	return &progress{out: out, mode: mode, now: time.Now}, nil
}

// The least time between two lines of one step, for people and for programs.
const (
	plainInterval = time.Second
	fineInterval  = 100 * time.Millisecond
)

// show shows an event, or leaves it out where it adds little.
func (p *progress) show(e progressEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.mode {
	case progressJSON:
		p.showJSON(e)
	case progressBar:
		p.showBar(e)
	default:
		p.showPlain(e)
	}
}

// due says whether an event is worth a line: a new step, the end of the seed,
// another reason to wait, or a second later and anything new.
func (p *progress) due(e progressEvent) bool {
	same := e.Step == p.last.Step && e.who == p.last.who
	finished := e.Total > 0 && e.Done == e.Total && p.last.Done != e.Done
	waits := e.Step == string(join.StepPromote) && e.Text != p.last.Text && !strings.HasPrefix(e.Text, "catches up")
	interval := plainInterval
	if p.mode == progressJSON {
		interval = fineInterval
	}
	late := p.now().Sub(p.shown) >= interval && (e.Text != p.last.Text || e.Done != p.last.Done || e.Match != p.last.Match && lagOf(e) > 0)
	if same && !finished && !waits && !late {
		return false
	}
	p.last, p.shown = e, p.now()
	return true
}

func lagOf(e progressEvent) uint64 { return e.Commit - min(e.Commit, e.Match) }

func (p *progress) showJSON(e progressEvent) {
	if !p.due(e) {
		return
	}
	b, err := json.Marshal(e)
	p.fail(err)
	p.write("%s\n", b)
}

func (p *progress) showPlain(e progressEvent) {
	if s := describe(e); s != "" && p.due(e) {
		p.write("%s%s\n", e.who, s)
	}
}

func (p *progress) showBar(e progressEvent) {
	if e.Step == string(join.StepSeed) && e.Total > 0 {
		p.drawBar(e)
		return
	}
	p.endBar()
	p.showPlain(e)
}

func (p *progress) drawBar(e progressEvent) {
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(e.Total,
			progressbar.OptionSetWriter(p.out),
			progressbar.OptionSetDescription(e.who+"seed"),
			progressbar.OptionShowBytes(true),
			progressbar.OptionShowTotalBytes(true),
			progressbar.OptionShowCount(),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionShowElapsedTimeOnFinish(),
			progressbar.OptionSetWidth(30),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetRenderBlankState(true),
		)
	}
	if e.Total != p.bar.GetMax64() {
		p.bar.ChangeMax64(e.Total) // the source began another snapshot
	}
	p.fail(p.bar.Set64(e.Done))
	if e.Done == e.Total {
		p.endBar()
	}
}

// endBar leaves the bar as it is and begins a new line.
func (p *progress) endBar() {
	if p.bar != nil {
		p.bar = nil
		p.write("\n")
	}
}

// Close ends the line that is being drawn. It returns the first error of
// everything that was shown.
func (p *progress) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endBar()
	return p.err
}

func (p *progress) write(format string, args ...any) {
	_, err := fmt.Fprintf(p.out, format, args...)
	p.fail(err)
}

func (p *progress) fail(err error) {
	if p.err == nil && err != nil {
		p.err = fmt.Errorf("show the progress: %w", err)
	}
}

// over is a writer for the log that shares the terminal with the bar: a line of
// the log never ends up in the middle of it.
func (p *progress) over(w io.Writer) io.Writer { return &overBar{p: p, w: w} }

type overBar struct {
	p *progress
	w io.Writer
}

// Write implements io.Writer.
func (o *overBar) Write(b []byte) (int, error) {
	o.p.mu.Lock()
	defer o.p.mu.Unlock()
	if o.p.bar == nil || !isTerminal(o.w) {
		return o.w.Write(b)
	}
	err := o.p.bar.Clear()
	n, werr := o.w.Write(b)
	return n, errors.Join(err, werr, o.p.bar.RenderBlank())
}

// describe says an event in a line, or nothing when there is nothing to say.
func describe(e progressEvent) string {
	switch join.Step(e.Step) {
	case join.StepCheck, join.StepReserve, join.StepLearn:
		return e.Step + ": " + e.Text
	case join.StepSeed:
		if e.Total == 0 {
			return "seed: " + e.Text
		}
		return fmt.Sprintf("seed: %s, %s of %s (%d%%)", e.Text, bytesText(e.Done), bytesText(e.Total), 100*e.Done/e.Total)
	case join.StepPromote:
		switch {
		case e.Text == "":
			return ""
		case strings.HasPrefix(e.Text, "caught up"):
			return "standby learner: " + e.Text
		}
		return "learner: " + e.Text
	case join.StepVoter:
		return "voter: " + e.Text
	}
	return ""
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
