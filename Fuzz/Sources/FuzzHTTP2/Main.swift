import CLibFuzzer

/// libFuzzer calls the closure with one input after the other; whatever is wrong stops the program.
@main
enum Main {
    static func main() {
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        _ = LLVMFuzzerRunDriver(&count, &arguments) { bytes, count in
            var script = Script(UnsafeBufferPointer(start: bytes, count: count))
            let setting = Setting.all[Int(script.byte()) % Setting.all.count]
            let cut = Int(script.byte())
            let exact = Conversation(setting).run(&script)
            exact.compare(with: exact.again(setting, cut))
            return 0
        }
    }
}
