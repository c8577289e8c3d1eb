"""Run jupyter_kernel_test with kernel argv[1]; every list of samples is filled in."""
import sys
import unittest

import jupyter_kernel_test as jkt


class GoKernelTests(jkt.KernelTests):
    kernel_name = sys.argv[1]
    language_name = "go"
    file_extension = ".go"
    code_hello_world = 'import "fmt"\nfmt.Println("hello, world")'
    code_stderr = 'import (\n"fmt"\n"os"\n)\nfmt.Fprintln(os.Stderr, "oops")'
    completion_samples = [
        {"text": "kernel.Clea", "matches": {"Clear", "ClearNext"}},
        {"text": "x := kernel.Pa", "matches": {"Page", "Password"}},
        {"text": "nothing_of_that_name", "matches": set()},
    ]
    complete_code_samples = ["1", "x := 1\nx + 1", "func f() {\n}", "for {\n}", "// nothing", "import \"fmt\""]
    incomplete_code_samples = ["func f() {", "x := f(1,", "1 +", "s := `raw", "/* comment", "type t struct {\n\tA int"]
    invalid_code_samples = ["x := )", "func 1() {}", 's := "open', "x = = 1"]
    code_page_something = 'kernel.Page(ctx, "a page of text")'
    code_generate_error = 'panic("on purpose")'
    code_execute_result = [
        {"code": "1 + 2", "result": "3"},
        {"code": "[]int{1, 2}", "result": "[1 2]"},
        {"code": '"text"', "result": "text"},
    ]
    code_display_data = [
        {"code": 'kernel.Show(ctx, "shown")', "mime": "text/plain"},
    ]
    code_history_pattern = "1 [+]*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "fmt.Println"
    code_clear_output = "kernel.Clear(ctx)"


class WelcomeTests(jkt.IopubWelcomeTests):
    kernel_name = sys.argv[1]
    support_iopub_welcome = True


if __name__ == "__main__":
    # what the suite leaves for a kernel to fill in, or skips a test
    samples = {n for n, v in vars(jkt.KernelTests).items() if not n.startswith("_") and isinstance(v, (str, list, tuple, dict))}
    print("left out:", sorted(n for n in samples if not getattr(GoKernelTests, n)))
    suite = unittest.TestSuite()
    for case in (GoKernelTests, WelcomeTests):
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    result = unittest.TextTestRunner(stream=sys.stderr, verbosity=2).run(suite)
    print(f"{result.testsRun} run, {len(result.failures) + len(result.errors)} failed, {len(result.skipped)} skipped")
    sys.exit(not result.wasSuccessful())
