//go:build ddpmcuda

package cudnn

// #cgo LDFLAGS: -ldl
// #define _GNU_SOURCE
// #include <dlfcn.h>
// #include <link.h>
// #include <stdint.h>
// #include <stdlib.h>
//
// struct library {
//   size_t (*version)(void);
//   size_t (*cuda)(void);
//   int (*create)(int kind, void **d);
//   int (*destroy)(void *d);
//   int (*finalize)(void *d);
//   int (*set)(void *d, int name, int type, int64_t n, const void *v);
//   int (*get)(void *d, int name, int type, int64_t n, int64_t *got, void *v);
//   const char *(*status)(int);
//   void (*reason)(char *text, size_t n);
//   int (*open)(void **handle);
//   int (*close)(void *handle);
//   int (*set_stream)(void *handle, void *stream);
//   int (*execute)(void *handle, void *plan, void *pack);
// };
//
// // The functions return what went wrong, or null.
// static const char *open_library(const char *path, struct library *l, void **handle, const char **found) {
//   *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
//   if (!*handle) return dlerror();
//   struct link_map *map;
//   *found = dlinfo(*handle, RTLD_DI_LINKMAP, &map) == 0 ? map->l_name : path;
//   static const char *names[] = {"cudnnGetVersion", "cudnnGetCudartVersion", "cudnnBackendCreateDescriptor",
//     "cudnnBackendDestroyDescriptor", "cudnnBackendFinalize", "cudnnBackendSetAttribute", "cudnnBackendGetAttribute", "cudnnGetErrorString",
//     "cudnnGetLastErrorString", "cudnnCreate", "cudnnDestroy", "cudnnSetStream", "cudnnBackendExecute"};
//   void **slot = (void **)l;
//   for (size_t i = 0; i < sizeof names / sizeof *names; i++)
//     if (!(slot[i] = dlsym(*handle, names[i]))) return dlerror();
//   return 0;
// }
// static void close_library(void *handle) { dlclose(handle); }
// static int load(const char *path) { return dlopen(path, RTLD_NOW | RTLD_GLOBAL) != 0; }
//
// static size_t version(struct library *l) { return l->version(); }
// static size_t cuda(struct library *l) { return l->cuda(); }
// static int create(struct library *l, int kind, void **d) { return l->create(kind, d); }
// static int destroy(struct library *l, void *d) { return l->destroy(d); }
// static int finalize(struct library *l, void *d) { return l->finalize(d); }
// static int set(struct library *l, void *d, int name, int type, int64_t n, const void *v) { return l->set(d, name, type, n, v); }
// static int get(struct library *l, void *d, int name, int type, int64_t n, int64_t *got, void *v) {
//   return l->get(d, name, type, n, got, v);
// }
// static int open_handle(struct library *l, void **h) { return l->open(h); }
// static int close_handle(struct library *l, void *h) { return l->close(h); }
// static int set_stream(struct library *l, void *h, uintptr_t stream) { return l->set_stream(h, (void *)stream); }
// static int execute(struct library *l, void *h, void *plan, void *pack) { return l->execute(h, plan, pack); }
// static const char *status(struct library *l, int s) { return l->status(s); }
// static void reason(struct library *l, char *text, size_t n) { l->reason(text, n); }
import "C"

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unsafe"
)

// oldest is the version from which on plans can be made for a GPU that is described
// instead of there, as the library counts: 9.8.0.
const oldest = 90800

// Library is a cuDNN that is loaded. It stays loaded as long as the program runs.
type Library struct {
	Path string
	Of   int // its version, as it counts: 91900 is 9.19.0

	c C.struct_library
}

// Open loads the first of the candidates that can be used. It fails if there is none.
func Open() (*Library, error) {
	if Forbidden() {
		return nil, fmt.Errorf("%s=%s forbids it", Env, forbidden)
	}
	candidates := Candidates()
	var why []error
	for _, path := range candidates {
		l, err := open(path)
		if err == nil {
			return l, nil
		}
		why = append(why, err)
	}
	if len(candidates) == 1 && strings.HasPrefix(why[0].Error(), file+": cannot open") {
		return nil, fmt.Errorf("no cuDNN 9 is installed; pip install nvidia-cudnn-cu13==%s, or name its %s by DDPMLAB_CUDNN", Wanted, file)
	}
	return nil, fmt.Errorf("cuDNN does not load: %w", why[len(why)-1])
}

func open(path string) (*Library, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	l := &Library{}
	var handle unsafe.Pointer
	var found *C.char
	if e := C.open_library(name, &l.c, &handle, &found); e != nil {
		err := errors.New(C.GoString(e))
		if handle != nil {
			C.close_library(handle)
		}
		return nil, err
	}
	l.Path, l.Of = C.GoString(found), int(C.version(&l.c))
	err := l.usable()
	if err != nil {
		C.close_library(handle)
		return nil, err
	}
	return l, nil
}

// usable fails if the library is too old, or if there is no cuBLAS for it: without, it
// would end the process when it is first asked for something.
func (l *Library) usable() error {
	if l.Of < oldest {
		return fmt.Errorf("%s is version %s, and 9.8.0 is needed", l.Path, l.Version())
	}
	name := fmt.Sprintf("libcublasLt.so.%d", C.cuda(&l.c)/1000)
	for _, folder := range []string{".", "../../cu13/lib", "../../cublas/lib"} {
		if load(filepath.Join(filepath.Dir(l.Path), folder, name)) {
			return nil
		}
	}
	if load(name) {
		return nil
	}
	return fmt.Errorf("%s needs %s, which is neither beside it nor where the system's linker looks; pip install nvidia-cublas", l.Path, name)
}

// load loads a library for others that look for it by its name.
func load(path string) bool {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	return C.load(name) != 0
}

// Version is as people write it.
func (l *Library) Version() string {
	return fmt.Sprintf("%d.%d.%d", l.Of/10000, l.Of/100%100, l.Of%100)
}

// check makes an error of what a call returned.
func (l *Library) check(what string, r C.int) error {
	if r == 0 {
		return nil
	}
	var text [512]C.char
	C.reason(&l.c, &text[0], C.size_t(len(text)))
	why, _, _ := strings.Cut(strings.TrimSpace(C.GoString(&text[0])), "\n")
	return fmt.Errorf("cuDNN: %s: %s: %s", what, C.GoString(C.status(&l.c, r)), why)
}

func (l *Library) openHandle() (h unsafe.Pointer, r C.int) {
	r = C.open_handle(&l.c, &h)
	return h, r
}

func (l *Library) closeHandle(h unsafe.Pointer) C.int { return C.close_handle(&l.c, h) }
func (l *Library) setStream(h unsafe.Pointer, stream uintptr) C.int {
	return C.set_stream(&l.c, h, C.uintptr_t(stream))
}

func (l *Library) execute(h, plan, pack unsafe.Pointer) C.int {
	return C.execute(&l.c, h, plan, pack)
}

// session owns descriptors: what the library calls its objects.
type session struct {
	l   *Library
	all []unsafe.Pointer
}

func (s *session) close() {
	for _, d := range s.all {
		C.destroy(&s.l.c, d)
	}
}

// A kind of descriptor, with the name it has in errors.
type kind struct {
	number int32
	name   string
}

// attribute is one of a descriptor; its value's type is one of those of values.
type attribute struct {
	name  int32
	value any
}

// Enumerations of the library, with its values.
type (
	dataType        int32
	convolutionMode int32
	heuristicMode   int32
	note            int32
	handle          unsafe.Pointer
	address         uintptr // of the GPU's memory
)

// Numbers of types.
const (
	typeHandle          = 0
	typeDataType        = 1
	typeInt64           = 3
	typeFloat           = 4
	typePointer         = 6
	typeConvolutionMode = 7
	typeHeuristicMode   = 8
	typeNote            = 11
	typeDescriptor      = 15
	typeChar            = 24
)

// empty makes a descriptor without attributes.
func (s *session) empty(k kind) (unsafe.Pointer, error) {
	var d unsafe.Pointer
	if err := s.l.check("create "+k.name, C.create(&s.l.c, C.int(k.number), &d)); err != nil {
		return nil, err
	}
	s.all = append(s.all, d)
	return d, nil
}

// descriptor makes one and finalizes it.
func (s *session) descriptor(k kind, attributes ...attribute) (unsafe.Pointer, error) {
	d, err := s.empty(k)
	if err != nil {
		return nil, err
	}
	for _, a := range attributes {
		what := fmt.Sprintf("set attribute %d of %s", a.name, k.name)
		switch v := a.value.(type) {
		case dataType:
			err = set(s, what, d, a.name, typeDataType, v)
		case convolutionMode:
			err = set(s, what, d, a.name, typeConvolutionMode, v)
		case heuristicMode:
			err = set(s, what, d, a.name, typeHeuristicMode, v)
		case handle:
			err = set(s, what, d, a.name, typeHandle, v)
		case address:
			err = set(s, what, d, a.name, typePointer, v)
		case []address:
			err = set(s, what, d, a.name, typePointer, v...)
		case float32:
			err = set(s, what, d, a.name, typeFloat, v)
		case int64:
			err = set(s, what, d, a.name, typeInt64, v)
		case []int64:
			err = set(s, what, d, a.name, typeInt64, v...)
		case unsafe.Pointer:
			err = set(s, what, d, a.name, typeDescriptor, v)
		case string:
			err = set(s, what, d, a.name, typeChar, []byte(v)...)
		default:
			err = fmt.Errorf("%s to a %T", what, v)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := s.l.check("finalize "+k.name, C.finalize(&s.l.c, d)); err != nil {
		return nil, err
	}
	return d, nil
}

func set[T any](s *session, what string, d unsafe.Pointer, name, kind int32, values ...T) error {
	return s.l.check(what, C.set(&s.l.c, d, C.int(name), C.int(kind), C.int64_t(len(values)), unsafe.Pointer(&values[0])))
}

// getInt64 reads an attribute that is a number.
func (s *session) getInt64(what string, d unsafe.Pointer, name int32) (int64, error) {
	var n C.int64_t
	var v int64
	err := s.l.check("get "+what, C.get(&s.l.c, d, C.int(name), typeInt64, 1, &n, unsafe.Pointer(&v)))
	return v, err
}

// getNotes reads an attribute that is a list of notes.
func (s *session) getNotes(what string, d unsafe.Pointer, name int32) ([]note, error) {
	var n C.int64_t
	var all [32]note
	err := s.l.check("get "+what, C.get(&s.l.c, d, C.int(name), typeNote, C.int64_t(len(all)), &n, unsafe.Pointer(&all[0])))
	return all[:min(int(n), len(all))], err
}

// getDescriptors reads an attribute that is up to most descriptors of a kind.
func (s *session) getDescriptors(what string, d unsafe.Pointer, name int32, k kind, most int) ([]unsafe.Pointer, error) {
	var n C.int64_t
	if err := s.l.check("count "+what, C.get(&s.l.c, d, C.int(name), typeDescriptor, 0, &n, nil)); err != nil {
		return nil, err
	}
	n = min(n, C.int64_t(most))
	if n == 0 {
		return nil, nil
	}
	all := make([]unsafe.Pointer, n)
	for i := range all {
		var err error
		if all[i], err = s.empty(k); err != nil {
			return nil, err
		}
	}
	if err := s.l.check("get "+what, C.get(&s.l.c, d, C.int(name), typeDescriptor, n, &n, unsafe.Pointer(&all[0]))); err != nil {
		return nil, err
	}
	return all[:n], nil
}
