package unet_test

import (
	"context"
	"math"
	"testing"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/ref"
	"ddpmlab/ddpm/unet"
)

// The numbers of testdata/train_sample_tiny.json were made with PyTorch in
// float64, double backward included.
type golden struct {
	MSE       float64              `json:"mse"`
	GradL2    map[string]float64   `json:"mse_grad_l2"`
	GradFirst map[string][]float64 `json:"mse_grad_first3"`
	TotalL2   float64              `json:"mse_grad_total_l2"`
	VJP       []float64            `json:"vjp_ones_sqnorm_per_sample"`
	VJPGradL2 map[string]float64   `json:"d(mean vjp_ones_sqnorm)/dtheta_l2"`
}

// tinyLosses is the tiny network with its two losses: the mean squared error of
// the first three channels against cos(0.11·i), and the gradient penalty with a
// vector of ones: the squared norm of the gradient of the sum of the same channels with
// respect to the image, averaged over the images.
type tinyLosses struct {
	inputs       []*op.Node
	net          *unet.Net
	mse, penalty *op.Node
	perSample    *op.Node // squared norms, [2]
	values       [][]float64
}

func buildTiny(t testing.TB) tinyLosses {
	t.Helper()
	g := engine.NewGraph()
	x, ts, target := g.Input("x", 2, 8, 8, 3), g.Input("t", 2), g.Input("target", 2, 8, 8, 3)
	net, err := unet.Build(g, tiny(), x, ts, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := op.Sub(op.Slice(net.Out, 0, 3), target)
	gx, err := grad.Grad(op.Sum(op.Slice(net.Out, 0, 3), op.Scalar, 0), x)
	if err != nil {
		t.Fatal(err)
	}
	perSample := op.Sum(op.Mul(gx[0], gx[0]), op.PerSample, 0)
	return tinyLosses{
		inputs: []*op.Node{x, ts, target}, net: net,
		mse: op.Mean(op.Mul(d, d)), penalty: op.Mean(perSample), perSample: perSample,
		values: [][]float64{
			fromNCHW(2, 8, 8, 3, func(i int) float64 { return math.Sin(0.05 * float64(i)) }),
			{10, 500},
			fromNCHW(2, 8, 8, 3, func(i int) float64 { return math.Cos(0.11 * float64(i)) }),
		},
	}
}

// gradients runs the gradient of cost and returns it in the layout of the state dict.
func (l tinyLosses) gradients(t testing.TB, cost *op.Node, outputs ...*op.Node) (out [][]float64, grads map[string][]float64) {
	t.Helper()
	gs, err := grad.Grad(cost, l.net.Params...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Compile(engine.Spec{Inputs: l.inputs, Params: l.net.Params, Outputs: outputs, Grads: gs})
	if err != nil {
		t.Fatal(err)
	}
	out, flat, err := ref.Run(context.Background(), p, l.values, goldenWeights(tiny()))
	if err != nil {
		t.Fatal(err)
	}
	grads = map[string][]float64{}
	for i, k := range tiny().Keys() {
		grads[k.Name] = toTorch(k, flat[p.ParamOffset[i]:][:k.Len()])
	}
	return out, grads
}

// toTorch is unet's own conversion, in float64.
func toTorch(k unet.Key, v []float64) []float64 {
	if len(k.Shape) == 1 {
		return v
	}
	out, in := k.Shape[0], k.Shape[1]
	taps := k.Len() / out / in
	w := make([]float64, len(v))
	for i := range v {
		o, c, tap := i%out, i/out%in, i/out/in
		w[(o*in+c)*taps+tap] = v[i]
	}
	return w
}

func norm(v []float64) float64 {
	var s float64
	for _, x := range v {
		s += x * x
	}
	return math.Sqrt(s)
}

func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if math.Abs(got-want) > tol*math.Abs(want) {
		t.Errorf("%s: got %.15g, want %.15g (relative difference %.2g)", what, got, want, math.Abs(got/want-1))
	}
}

func TestGradientsOfTheLoss(t *testing.T) {
	var want golden
	readJSON(t, "train_sample_tiny.json", &want)
	l := buildTiny(t)
	out, grads := l.gradients(t, l.mse, l.mse)
	near(t, "mse", out[0][0], want.MSE, 1e-9)
	for name, v := range want.GradL2 {
		near(t, "norm of "+name, norm(grads[name]), v, 1e-9)
	}
	for name, vs := range want.GradFirst {
		for i, v := range vs {
			near(t, name, grads[name][i], v, 1e-8)
		}
	}
	var total float64
	for _, g := range grads {
		total += norm(g) * norm(g)
	}
	near(t, "norm of all", math.Sqrt(total), want.TotalL2, 1e-9)
}

// TestGradientsOfThePenalty is true double backpropagation against PyTorch's.
func TestGradientsOfThePenalty(t *testing.T) {
	var want golden
	readJSON(t, "train_sample_tiny.json", &want)
	l := buildTiny(t)
	// The last bias has no part in the penalty; with the loss it has a gradient.
	out, grads := l.gradients(t, op.Add(l.penalty, op.Scale(l.mse, 0)), l.perSample)
	for i, v := range want.VJP {
		near(t, "squared norm", out[0][i], v, 1e-9)
	}
	for name, v := range want.VJPGradL2 {
		near(t, "norm of "+name, norm(grads[name]), v, 1e-9)
	}
}
