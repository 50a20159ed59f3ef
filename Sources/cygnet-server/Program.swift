import Foundation
import ServerProgram
import ServiceRuntime

/// The control plane of one trust domain. Started as `spire-server` it is the same program.
@main
enum Program {
    static func main() async {
        let arguments = CommandLine.arguments
        let name = arguments.first.map { ($0 as NSString).lastPathComponent } ?? "cygnet-server"
        let code = await ServerCommandLine.main(
            arguments: Array(arguments.dropFirst()), program: name, run: ServerDaemon.run,
            validate: ServerDaemon.validate)
        exit(code)
    }
}
