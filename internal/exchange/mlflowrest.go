package exchange

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Server is an MLflow tracking server.
type Server struct {
	URL    string       // as http://localhost:5000
	Client *http.Client // nil: http.DefaultClient
	// User and Password, or Token, are sent with each request where set.
	User, Password, Token string
}

// Tags by which a pushed run is known again.
const (
	tagOrigin = "ddpmlab.run"    // the run's id here
	tagPushed = "ddpmlab.pushed" // JSON: the last step pushed, by series
)

// Limits of one log-batch request.
const (
	batchMetrics = 1000
	batchParams  = 100
	batchTags    = 100
)

// Push sends a run to the experiment of that name, which is made where there is none, and
// returns the run's id on the server. A run that was pushed before, known by its tag
// ddpmlab.run, gets what is new alone: pushing twice changes nothing.
func (s *Server) Push(ctx context.Context, experiment string, r Run) (id string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("push run %s to %s: %w", r.ID, s.URL, err)
		}
	}()
	exp, err := s.experiment(ctx, experiment)
	if err != nil {
		return "", err
	}
	id, uri, pushed, err := s.find(ctx, exp, r.ID)
	if err != nil {
		return "", err
	}
	if r.Parent != "" { // as the server names it, if it was pushed
		if r.Parent, _, _, err = s.find(ctx, exp, r.Parent); err != nil {
			return "", err
		}
	}
	if id == "" {
		if id, uri, err = s.create(ctx, exp, r); err != nil {
			return "", err
		}
		pushed = make(map[string]int64)
	}
	if err := s.logSettings(ctx, id, r); err != nil {
		return "", err
	}
	if err := s.logMetrics(ctx, id, r, pushed); err != nil {
		return "", err
	}
	if err := s.upload(ctx, id, uri, r.Files); err != nil {
		return "", err
	}
	update := map[string]any{"run_id": id, "run_uuid": id, "status": statusNames[r.Status], "run_name": r.Name}
	if !r.Finished.IsZero() {
		update["end_time"] = r.Finished.UnixMilli()
	}
	return id, s.post(ctx, "runs/update", update, nil)
}

func (s *Server) experiment(ctx context.Context, name string) (id string, err error) {
	var got struct {
		Experiment struct {
			ID string `json:"experiment_id"`
		} `json:"experiment"`
	}
	err = s.call(ctx, http.MethodGet, "experiments/get-by-name?experiment_name="+url.QueryEscape(name), nil, &got)
	if e, ok := errors.AsType[*serverError](err); ok && e.Code == "RESOURCE_DOES_NOT_EXIST" {
		var made struct {
			ID string `json:"experiment_id"`
		}
		err = s.post(ctx, "experiments/create", map[string]any{"name": name}, &made)
		return made.ID, err
	}
	return got.Experiment.ID, err
}

// runInfo is what MLflow answers about a run, as far as it matters here.
type runInfo struct {
	Info struct {
		ID  string `json:"run_id"`
		URI string `json:"artifact_uri"`
	} `json:"info"`
	Data struct {
		Tags []pair `json:"tags"`
	} `json:"data"`
}

type pair struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func (s *Server) find(ctx context.Context, experiment, origin string) (id, uri string, pushed map[string]int64, err error) {
	var got struct {
		Runs []runInfo `json:"runs"`
	}
	err = s.post(ctx, "runs/search", map[string]any{
		"experiment_ids": []string{experiment}, "max_results": 1,
		"filter": fmt.Sprintf("tags.`%s` = '%s'", tagOrigin, origin),
	}, &got)
	if err != nil || len(got.Runs) == 0 {
		return "", "", nil, err
	}
	pushed = make(map[string]int64)
	for _, t := range got.Runs[0].Data.Tags {
		if t.Key == tagPushed {
			if err := json.Unmarshal([]byte(t.Value), &pushed); err != nil {
				return "", "", nil, fmt.Errorf("its tag %s: %w", tagPushed, err)
			}
		}
	}
	return got.Runs[0].Info.ID, got.Runs[0].Info.URI, pushed, nil
}

func (s *Server) create(ctx context.Context, experiment string, r Run) (id, uri string, err error) {
	var got struct {
		Run runInfo `json:"run"`
	}
	err = s.post(ctx, "runs/create", map[string]any{
		"experiment_id": experiment, "start_time": r.Started.UnixMilli(), "run_name": r.Name, "user_id": r.User,
		"tags": []pair{{tagName, r.Name}, {tagOrigin, r.ID}},
	}, &got)
	if err == nil && got.Run.Info.ID == "" {
		err = errors.New("the answer names no run; is this an MLflow server?")
	}
	return got.Run.Info.ID, got.Run.Info.URI, err
}

// logSettings sends parameters and tags.
func (s *Server) logSettings(ctx context.Context, id string, r Run) error {
	for keys := range slices.Chunk(slices.Sorted(maps.Keys(r.Params)), batchParams) {
		var params []pair
		for _, key := range keys {
			params = append(params, pair{cut(Metric(key), maxKey), cut(r.Params[key], maxParam)})
		}
		if err := s.post(ctx, "runs/log-batch", map[string]any{"run_id": id, "params": params}, nil); err != nil {
			return err
		}
	}
	tags := r.allTags()
	for keys := range slices.Chunk(slices.Sorted(maps.Keys(tags)), batchTags) {
		var list []pair
		for _, key := range keys {
			list = append(list, pair{cut(Metric(key), maxKey), cut(tags[key], maxTag)})
		}
		if err := s.post(ctx, "runs/log-batch", map[string]any{"run_id": id, "tags": list}, nil); err != nil {
			return err
		}
	}
	return nil
}

type metric struct {
	Key   string     `json:"key"`
	Value jsonNumber `json:"value"`
	Time  int64      `json:"timestamp"`
	Step  int64      `json:"step"`
}

// jsonNumber writes NaN and infinities as the texts that MLflow takes for them.
type jsonNumber float64

func (n jsonNumber) MarshalJSON() ([]byte, error) {
	switch x := float64(n); {
	case math.IsNaN(x):
		return []byte(`"NaN"`), nil
	case math.IsInf(x, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(x, -1):
		return []byte(`"-Infinity"`), nil
	default:
		return strconv.AppendFloat(nil, x, 'g', -1, 64), nil
	}
}

// logMetrics sends the points after those in pushed, in order of their time, and keeps
// pushed up to date on the server.
func (s *Server) logMetrics(ctx context.Context, id string, r Run, pushed map[string]int64) error {
	var all []metric
	for _, series := range r.Series {
		key := cut(Metric(series.Key), maxKey)
		last, known := pushed[key]
		for _, p := range series.Points {
			if !known || p.Step > last {
				all = append(all, metric{key, jsonNumber(p.Value), p.Time.UnixMilli(), p.Step})
			}
		}
	}
	for batch := range slices.Chunk(all, batchMetrics) {
		if err := s.post(ctx, "runs/log-batch", map[string]any{"run_id": id, "metrics": batch}, nil); err != nil {
			return err
		}
		for _, m := range batch {
			pushed[m.Key] = m.Step
		}
		text, err := json.Marshal(pushed)
		if err != nil {
			return err
		}
		if err := s.post(ctx, "runs/set-tag", map[string]any{"run_id": id, "run_uuid": id, "key": tagPushed, "value": string(text)}, nil); err != nil {
			return err
		}
	}
	return nil
}

// upload sends the run's files to a server that passes them on (an mlflow-artifacts: URI);
// with another, files are out of reach of its REST interface and stay here.
func (s *Server) upload(ctx context.Context, id, uri string, files []File) error {
	_, path, ok := strings.Cut(uri, "mlflow-artifacts:")
	if !ok || len(files) == 0 {
		return nil
	}
	if u, err := url.Parse(uri); err == nil {
		path = u.Path
	}
	there, err := s.listed(ctx, id)
	if err != nil {
		return err
	}
	for _, f := range files {
		if there[f.Path] {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return err
		}
		target := s.endpoint("/api/2.0/mlflow-artifacts/artifacts/" + (&url.URL{Path: strings.Trim(path, "/") + "/" + f.Path}).EscapedPath())
		err = s.send(ctx, http.MethodPut, target, io.NopCloser(in), "application/octet-stream", nil) // closed below, once
		if err := errors.Join(err, in.Close()); err != nil {
			return fmt.Errorf("file %s: %w", f.Path, err)
		}
	}
	return nil
}

// listed is the paths of the run's files at the top of its folder.
func (s *Server) listed(ctx context.Context, id string) (map[string]bool, error) {
	var got struct {
		Files []struct {
			Path string `json:"path"`
		} `json:"files"`
	}
	err := s.call(ctx, http.MethodGet, "artifacts/list?run_id="+id, nil, &got)
	there := make(map[string]bool)
	for _, f := range got.Files {
		there[f.Path] = true
	}
	return there, err
}

// serverError is what the server says went wrong.
type serverError struct {
	Status  int
	Code    string `json:"error_code"`
	Message string `json:"message"`
}

func (e *serverError) Error() string {
	text := strings.TrimSpace(e.Message)
	if text == "" {
		text = http.StatusText(e.Status)
	}
	return fmt.Sprintf("the server answered %d: %s", e.Status, text)
}

func (s *Server) post(ctx context.Context, path string, body, into any) error {
	return s.call(ctx, http.MethodPost, path, body, into)
}

func (s *Server) call(ctx context.Context, method, path string, body, into any) error {
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(text)
	}
	return s.send(ctx, method, s.endpoint("/api/2.0/mlflow/"+path), in, "application/json", into)
}

func (s *Server) endpoint(path string) string { return strings.TrimRight(s.URL, "/") + path }

func (s *Server) send(ctx context.Context, method, target string, body io.Reader, kind string, into any) error {
	const patience = 2 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	switch {
	case s.Token != "":
		req.Header.Set("Authorization", "Bearer "+s.Token)
	case s.User != "":
		req.SetBasicAuth(s.User, s.Password)
	}
	client := s.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	const most = 64 << 20
	text, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		e := &serverError{Status: resp.StatusCode}
		if json.Unmarshal(text, e) != nil {
			e.Message = cut(strings.TrimSpace(string(text)), 300)
		}
		return e
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("the answer is not MLflow's: %w", err)
	}
	return nil
}
